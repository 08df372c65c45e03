"""A recipe is a TOML file that fully describes one training run; this is its schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=16, le=256)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataTable(_Table):
    """Which rows train, and which choose the best epoch."""

    train_split: str = "train"
    validation_split: str = "validation"
    drop_flags: tuple[str, ...] = ("leak", "blank")
    """Training rows with these flags are left out: copies of validation or test images, empty images."""
    recropped: str = ""
    """A prepared set of the same rows, made by `mien data recrop`; empty: none."""
    recropped_share: Share = 0.0
    """Share of the training images that come from there, drawn again in every epoch."""
    photographs: tuple[str, ...] = ()
    """Parquet files of photographs with marked faces, whose expressions nobody labelled: the teachers do."""

    @model_validator(mode="after")
    def _share_has_a_set(self) -> DataTable:
        if self.recropped_share > 0 and not self.recropped:
            raise ValueError("recropped_share needs recropped, a set made by mien data recrop")
        return self


class ModelTable(_Table):
    """The network; see `mien.training.expression.net`."""

    kind: Literal["residual", "plain", "efficientnet"] = "residual"
    input_size: Side = 48
    enlarge: Annotated[float, Field(ge=1, le=4)] = 1.0
    """Of all but the plain network: the factor by which its input is enlarged before the first convolution, on a finer
    grid for a time that grows with the square; the crops stay as large as the data has them."""
    stem_width: Count = 64
    stem_stride: Literal[1, 2] = 2
    widths: tuple[Count, ...] = (64, 128, 192)
    """Channels of each stage; of the EfficientNet, whose stages have their own, those of its last convolution."""
    depths: tuple[Count, ...] = (2, 2, 1)
    """Blocks of each stage; the whole EfficientNet has 1, 2, 2, 3, 3, 4 and 1, a cut one fewer."""
    squeeze_excite: tuple[bool, ...] = (False, True, True)
    batch_norm: bool = True
    """False: the normalisations are folded into the convolutions, as in every exported model."""
    dense: tuple[Count, ...] = ()
    """Of the plain network: its hidden dense layers."""
    dropout: Rate = 0.2
    stochastic_depth: Rate = 0.0
    """Of the EfficientNet: how often its last block is skipped in training, those before it in proportion."""
    dense_dropout: tuple[Rate, ...] = ()
    """Of the plain network: dropout after each dense layer."""
    vote_head: bool = True

    @model_validator(mode="after")
    def _one_entry_per_stage(self) -> ModelTable:
        if self.kind == "residual" and not len(self.widths) == len(self.depths) == len(self.squeeze_excite):
            raise ValueError("widths, depths and squeeze_excite need one entry per stage each")
        if self.kind == "efficientnet" and (len(self.widths) != 1 or not 1 <= len(self.depths) <= 7):
            raise ValueError("an efficientnet has one entry in widths and one to seven in depths")
        if len(self.dense) != len(self.dense_dropout):
            raise ValueError("dense and dense_dropout need one entry per layer each")
        if self.kind == "plain" and self.input_size < (smallest := 3 * 2 ** len(self.widths) - 2):
            raise ValueError(f"input_size is too small for {len(self.widths)} widths; {smallest} is the least")
        return self


class AugmentTable(_Table):
    """Random changes to training images; all zero or one means none."""

    flip: Share = 0.5
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest turn in degrees, either way."""
    shift: Share = 0.08
    """Largest shift as a share of the side, either way."""
    scale: tuple[Positive, Positive] = (0.85, 1.15)
    """Magnification range; above one crops into the image."""
    stretch: Share = 0.08
    """Largest change of aspect ratio, as a share."""
    brightness: Share = 0.15
    contrast: Share = 0.25
    gamma: Share = 0.25
    """Largest exponent change, as a share, either way."""
    blur: Share = 0.1
    """Share of images that are softened."""
    low_resolution: Share = 0.1
    """Share of images that are sampled down to between a third and the whole, and up again."""
    noise: Share = 0.1
    """Share of images that get sensor noise."""
    erase: Share = 0.3
    """Share of images with one rectangle erased (Zhong et al. 2017, Random Erasing)."""
    once: bool = False
    """True: every image gets one changed copy before training, beside which it stays; nothing changes after."""

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("should be the smaller magnification and then the larger one")
        return scale

    def scaled(self, strength: float) -> AugmentTable:
        """The same changes, each weakened to `strength` of itself; the flip stays as it is."""
        scaled = {key: value * strength for key, value in self if key not in ("flip", "scale", "once")}
        scale = tuple(s**strength for s in self.scale)
        return AugmentTable.model_validate({"flip": self.flip, "scale": scale, **scaled})


class LoopTable(_Table):
    """How weights are found, whatever they are for."""

    epochs: Count = 90
    batch_size: Count = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with Nesterov momentum, or Adam with decoupled weight decay (with weight_decay = 0: Adam)."""
    lr: Positive = 0.1
    """Peak learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: half a cosine to zero, or the peak rate throughout."""
    momentum: Rate = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    warmup_epochs: Annotated[float, Field(ge=0)] = 3.0
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many epochs without a better validation accuracy; 0: never."""
    average_decay: Rate = 0.999
    """Decay per step of the moving average of the weights, which is what is evaluated and shipped."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) should be less than epochs ({self.epochs})")
        return self


class OptimTable(LoopTable):
    """How the weights of an expression network are found."""

    class_balance: Share = 0.0
    """Rows weigh (1 / frequency of their label) to this power, with a mean of one; 0: all the same."""
    label_smoothing: Rate = 0.0
    vote_prior: Share = 0.4
    """Share of the label target that is P(label | votes), fitted on the training rows, where votes exist."""
    teachers: tuple[str, ...] = ()
    """Run folders whose networks' mean probabilities teach; with plain views exported models, too, by name or path."""
    teach_views: Literal["plain", "augmented"] = "plain"
    """Which images the teachers see: each image and its mirror image, once before training; or the augmented images
    that the network sees, at the cost of running one teacher, drawn at random, in every step (Beyer et al. 2022)."""
    distillation: Share = 0.0
    """Share of the label target that comes from the teachers (Hinton et al. 2015; with the network's own earlier
    self as teacher: Furlanello et al. 2018, Born-Again Networks)."""
    teachers_see_votes: bool = False
    """True: the teachers' probabilities are combined with the annotators' votes into P(label | both), fitted on the
    validation rows (Lopez-Paz et al. 2016, privileged information)."""
    vote_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the vote head's loss beside the label head's."""
    calm_share: Share = 0.0
    """Over this last share of the epochs the augmentation fades linearly to `calm_strength`."""
    calm_strength: Share = 0.3
    sizes: tuple[tuple[Share, Side], ...] = ()
    """Progressive resolution: from this share of the epochs on, train at this size; empty: input_size."""

    @model_validator(mode="after")
    def _has_teachers(self) -> OptimTable:
        if self.distillation > 0 and not self.teachers:
            raise ValueError("distillation needs teachers, the run folders of the networks to learn from")
        if self.teachers_see_votes and not self.distillation:
            raise ValueError("teachers_see_votes needs distillation above zero")
        return self


class Recipe(_Table):
    """One training run of an expression network. Sizes in pixels, shares in 0..1, angles in degrees."""

    task: Literal["expression"] = "expression"
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    init: str = ""
    """Where the network starts from: the best weights of a run folder, or, for a network with
    model.batch_norm = false, a shipped model or an .onnx file; empty: random weights."""
    data: DataTable = DataTable()
    model: ModelTable = ModelTable()
    augment: AugmentTable = AugmentTable()
    optim: OptimTable = OptimTable()

    @model_validator(mode="after")
    def _photographs_have_teachers(self) -> Recipe:
        if self.data.photographs and not (self.optim.distillation and self.optim.teach_views == "plain"):
            raise ValueError('photographs are labelled by teachers; set distillation, and leave teach_views "plain"')
        return self

    @model_validator(mode="after")
    def _plain_has_one_size(self) -> Recipe:
        if self.model.kind == "plain" and self.optim.sizes:
            raise ValueError("a plain network takes images of one size; leave optim.sizes out")
        return self


class DetectorDataTable(_Table):
    """What is pasted into the photographs."""

    paste: str = ""
    """A prepared set of crops (of FER2013, say), whose training faces are pasted in; empty: none."""


class DetectorModelTable(_Table):
    """The detector's network; see `mien.training.detector.net`."""

    widths: tuple[Count, Count, Count, Count, Count] = (16, 32, 64, 128, 160)
    """Channels after the stem, at stride 4, and at strides 8, 16 and 32."""
    depths: tuple[Count, Count, Count, Count] = (2, 4, 5, 3)
    """Blocks at stride 4, 8, 16 and 32."""
    neck: Count = 64
    """Channels in which the strides meet."""


class SceneTable(_Table):
    """How training pictures are composed out of photographs; see `mien.training.detector.scenes`."""

    sizes: tuple[Annotated[int, Field(ge=64, le=1024, multiple_of=32)], ...] = (160, 192, 224, 256, 320)
    """Sides of the square training pictures, one drawn for each batch."""
    natural: Share = 0.7
    """Share of the pictures that show one photograph about as it was taken: upright, as much of it as fits in, half of
    them in the light it had. The others are harder than what is met outside, and alone would teach just that."""
    tiles: tuple[Share, ...] = (0.4, 0.35, 0.25)
    """In other pictures, the odds of one photograph, of 2 x 2 (mosaic, Bochkovskiy et al. 2020), of 3 x 3."""
    smallest: Positive = 8.0
    """Side in pixels of the smallest faces drawn; smaller ones count neither as faces nor as background."""
    largest: Annotated[float, Field(gt=0, le=2)] = 1.3
    """Side of the largest faces drawn, as a share of their tile's."""
    enlarge: Annotated[float, Field(ge=1)] = 9.0
    """How much photographs are enlarged at most."""
    close: Share = 0.33
    """Share of the photographs whose face is drawn large, from a third of its tile up, all sides alike; over the others
    the logarithm of the side is even."""
    soft: Share = 0.3
    """Share of the photographs that are enlarged from smaller copies than there are."""
    turned: Annotated[float, Field(ge=1)] = 5.0
    """How many times as often as others a face that is turned aside by 36 degrees or more is drawn, and a photograph
    with one of 16 pixels or more."""
    frames: Share = 0.06
    """Share of the tiles that a face to paste fills, as in a tight portrait, where there are any to paste."""
    mistakes: Share = 0.15
    """Share of the tiles that show what the detector in the package takes for a face though none is there (hard
    negatives, Sung and Poggio 1998)."""
    drawn: Share = 0.08
    """Share of the tiles, but the photograph's own, that show letters, dots or rings."""
    tilt: Annotated[float, Field(ge=0, le=180)] = 60.0
    """Largest turn in degrees, either way."""
    upright: Share = 0.7
    """Share of the photographs that are turned by some 10 degrees only."""
    stretch: Rate = 0.1
    """Largest change of aspect ratio, and largest shear, as a share."""
    paste: Share = 0.15
    """Share of the pictures that get faces pasted in, where there are any to paste."""
    occlude: Share = 0.12
    """Share of the faces that are covered in part."""
    grey: Share = 0.12
    dark: Share = 0.14
    """Share of the pictures taken in low light."""
    blur: Share = 0.14
    noise: Share = 0.12
    jpeg: Share = 0.2

    @model_validator(mode="after")
    def _sizes_and_odds(self) -> Self:
        if not self.sizes or not sum(self.tiles):
            raise ValueError("sizes and tiles need one entry or more, and some odds above zero")
        return self


class DetectorRecipe(_Table):
    """One training run of the face detector. Sizes in pixels, shares in 0..1, angles in degrees."""

    task: Literal["detect"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    init: str = ""
    """Where the network starts from: the best weights of a run folder, the detector in the package (`mien`), or an
    exported .onnx file; empty: random weights."""
    data: DetectorDataTable = DetectorDataTable()
    model: DetectorModelTable = DetectorModelTable()
    augment: SceneTable = SceneTable()
    optim: LoopTable = LoopTable()


Plan = Recipe | DetectorRecipe
"""What a recipe can describe; its `task` says which."""


def parse(content: dict[str, Any]) -> Plan:
    """A recipe's tables as the recipe; raises pydantic's ValidationError."""
    return schema_of(content).model_validate(content)


def schema_of(content: dict[str, Any]) -> type[Recipe] | type[DetectorRecipe]:
    """Which of the two a recipe's tables are."""
    return DetectorRecipe if content.get("task") == "detect" else Recipe
