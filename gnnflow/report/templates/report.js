// Draws the charts of the page with uPlot; the data are in #chart-data.
"use strict";
(() => {
  const MARK_REACH = 14; // pixels from a mark within which its words are shown
  const charts = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function short(value) {
    const size = Math.abs(value);
    for (const [limit, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (size >= limit) return +(value / limit).toPrecision(3) + suffix;
    }
    return String(+value.toPrecision(4));
  }
  const formats = {
    share: (value) => +(100 * value).toFixed(1) + " %",
    count: short,
    plain: (value) => String(+value.toPrecision(4)),
  };

  function drawEpochs(u, chart) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = color("line");
    ctx.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    for (const start of chart.epochs) {
      const x = u.valToPos(start, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
    }
    ctx.stroke();
    ctx.restore();
  }

  const shapes = {
    replace: (path, x, y, r) => {
      path.moveTo(x, y - r * 1.2);
      path.lineTo(x + r * 1.1, y + r * 0.8);
      path.lineTo(x - r * 1.1, y + r * 0.8);
      path.closePath();
    },
    keep: (path, x, y, r) => path.arc(x, y, r * 0.6, 0, 2 * Math.PI),
    missed: (path, x, y, r) => {
      for (const [dx, dy] of [[-1, -1], [-1, 1]]) {
        path.moveTo(x + dx * r * 0.8, y + dy * r * 0.8);
        path.lineTo(x - dx * r * 0.8, y - dy * r * 0.8);
      }
    },
  };

  function drawMarks(u, chart) {
    const { ctx, bbox } = u;
    const r = 4.5 * devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const kind of ["keep", "missed", "replace"]) {
      ctx.fillStyle = ctx.strokeStyle = color(kind);
      ctx.lineWidth = 1.5 * devicePixelRatio;
      for (const mark of chart.marks) {
        if (mark.kind !== kind) continue;
        const path = new Path2D();
        shapes[kind](path, u.valToPos(mark.x, "x", true), u.valToPos(mark.y, "y", true), r);
        if (kind === "missed") ctx.stroke(path);
        else ctx.fill(path);
      }
    }
    ctx.restore();
  }

  function nearestMark(u, chart) {
    let best = null, least = MARK_REACH;
    for (const mark of chart.marks) {
      const distance = Math.hypot(
        u.valToPos(mark.x, "x") - u.cursor.left, u.valToPos(mark.y, "y") - u.cursor.top);
      if (distance < least) [best, least] = [mark, distance];
    }
    return best;
  }

  function addLine(parent, text, className) {
    const line = document.createElement("div");
    line.textContent = text;
    if (className) line.className = className;
    parent.append(line);
  }

  function showTip(u, chart, tip) {
    const { idx, left, top } = u.cursor;
    tip.hidden = idx == null || left < 0;
    if (tip.hidden) return;
    tip.replaceChildren();
    addLine(tip, chart.x_name + " " + chart.x[idx].toLocaleString("en"), "head");
    chart.series.forEach((series, number) => {
      const value = series.values[idx];
      if (value == null || !u.series[number + 1].show) return;
      addLine(tip, series.name + ": " + formats[chart.format](value));
    });
    const mark = nearestMark(u, chart);
    if (mark) mark.lines.forEach((text, row) => addLine(tip, text, row ? "" : "decision head"));
    const width = u.over.clientWidth;
    const x = left > width / 2 ? left - tip.offsetWidth - 14 : left + 14;
    const y = Math.min(Math.max(top - tip.offsetHeight / 2, 0), u.over.clientHeight - tip.offsetHeight);
    tip.style.left = Math.max(Math.min(x, width - tip.offsetWidth), 0) + "px";
    tip.style.top = Math.max(y, 0) + "px";
  }

  function followTouch(u) {
    const move = (event) => {
      const box = u.over.getBoundingClientRect(), touch = event.touches[0];
      u.setCursor({ left: touch.clientX - box.left, top: touch.clientY - box.top });
    };
    u.over.addEventListener("touchstart", move, { passive: true });
    u.over.addEventListener("touchmove", move, { passive: true });
  }

  function draw(place, chart) {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    const format = formats[chart.format];
    const axis = {
      stroke: () => color("soft"),
      grid: { stroke: () => color("line"), width: 1 },
      ticks: { show: false },
      font: "12px system-ui, sans-serif",
    };
    const plot = new uPlot({
      width: place.clientWidth,
      height: place.clientWidth < 520 ? 260 : 320,
      padding: [12, 12, 0, 0],
      scales: { x: { time: false }, y: chart.y_range ? { range: chart.y_range } : {} },
      legend: { live: false, show: chart.series.length > 1 },
      cursor: { y: false, drag: { x: true, y: false }, points: { size: 7 } },
      axes: [
        { ...axis, grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6],
          values: (u, ticks) => ticks.map(short), label: chart.x_name, size: 30, labelSize: 22, labelGap: 0, labelFont: axis.font },
        { ...axis, size: 58, values: (u, ticks) => ticks.map(format) },
      ],
      series: [{ label: chart.x_name }].concat(chart.series.map((series) => ({
        label: series.name,
        stroke: () => color(series.color),
        width: series.width,
        dash: series.dash ? [7, 5] : undefined,
        points: { show: series.points, size: 6 },
        spanGaps: true,
      }))),
      hooks: {
        drawAxes: [(u) => drawEpochs(u, chart)],
        draw: [(u) => drawMarks(u, chart)],
        setCursor: [(u) => showTip(u, chart, tip)],
      },
    }, [chart.x].concat(chart.series.map((series) => series.values)), place);
    plot.over.append(tip);
    followTouch(plot);
    return plot;
  }

  const plots = [];
  for (const place of document.querySelectorAll("[data-chart]")) {
    const plot = draw(place, charts[place.dataset.chart]);
    plots.push(plot);
    new ResizeObserver(() => {
      if (place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: plot.height });
    }).observe(place);
  }
  dark.addEventListener("change", () => plots.forEach((plot) => plot.redraw(false, true)));
  document.documentElement.dataset.charts = plots.length;
})();
