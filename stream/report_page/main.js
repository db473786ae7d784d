// From top to bottom.

for (const start of [startHead, startTiles, startBaseline, startTimeline, startLatency, startBudget, startWaterfall, startLadder, startCounts, startFoot]) start();

redraw();
for (const wide of document.querySelectorAll(".scroll")) if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0; // for the keyboard
new ResizeObserver(() => redraw()).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
