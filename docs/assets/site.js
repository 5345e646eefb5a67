// Name the search dialog, and let the keyboard scroll what is wider than its window.
function describe() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const wide of document.querySelectorAll("pre > code, .md-typeset__scrollwrap")) {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
  }
}
addEventListener("load", describe);
addEventListener("resize", describe);
