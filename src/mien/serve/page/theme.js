// Runs before the first paint, so that a chosen theme does not flash. Not a module: those wait for the page.
try {
  const theme = JSON.parse(localStorage.getItem("mien.theme"));
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the system's theme it is.
}
