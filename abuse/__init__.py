"""The campaign of abuse: whatever can be done to `mien` by accident or malice, and a count of what that broke.

    python -m abuse                                    # everything, about an hour
    python -m abuse --family images --every 10         # a tenth of one family
    python -m abuse --seed 7 --only images/cut-png-3   # one trial again

A family is a module with `trials`, which gives named trials; what each does depends on its name and the seed alone.
Nothing is mocked: commands run in processes of their own, whose n-th write the system refuses, or which are killed.
"""
