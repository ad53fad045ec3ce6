// The page's only script: another language, slider, filters, and open sections on paper. Without it the page is whole.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const fillIn = (sentence, values) => sentence.replace(/{(\w+)}/g, (_, name) => values[name]);

  // The share of conversions among the best share of leads, on the curve that starts at nothing.
  const reached = (curve, share) => {
    const at = share * curve.length, below = Math.floor(at);
    const from = below ? curve[below - 1] : 0, to = curve[Math.min(below, curve.length - 1)];
    return from + (at - below) * (to - from);
  };

  const dot = (svg, size) => {
    const plot = svg.querySelector(".background").parentNode;
    const circle = document.createElementNS(svg.namespaceURI, "circle");
    circle.setAttribute("r", 7);
    circle.setAttribute("class", "chosen");
    plot.append(circle);
    return (share, captured) => {
      circle.setAttribute("cx", share * size.width);
      circle.setAttribute("cy", (1 - captured) * size.height);
    };
  };

  const slide = (page) => {
    const box = page.querySelector(".slider");
    const given = JSON.parse(box.querySelector("script").textContent);
    const input = box.querySelector("input"), output = box.querySelector("output");
    const whole = given.weekly || 100, positives = whole * given.positives / given.rows;
    const number = (value) => new Intl.NumberFormat(page.lang, {maximumFractionDigits: value < 10 ? 1 : 0}).format(value);
    const percent = (value) => new Intl.NumberFormat(page.lang, {style: "percent"}).format(value);
    const move = dot(page.querySelector("#gains-chart svg"), given);
    const say = () => {
      const share = Math.min(1, input.valueAsNumber / whole), captured = reached(given.captured, share);
      const text = fillIn(output.dataset.sentence, {
        leads: number(input.valueAsNumber), hits: number(captured * positives),
        captured: percent(captured), any: percent(share),
      });
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
      move(share, captured);
    };
    input.max = Math.ceil(whole);
    input.value = Math.max(1, Math.round(whole * given.share));
    input.addEventListener("input", say);
    say();
  };

  // Sums over the cells of a filter; training/analysis/slices.py says what the numbers of a cell are.
  const cells = (packed) => packed.split(";").map((row) => row.split(",").map(Number));
  const sum = (rows, column) => rows.reduce((total, row) => total + row[column], 0);

  // A rate with Wilson's interval, as training/stats/intervals.py has it.
  const wilson = (hits, rows) => {
    if (!rows) return null;
    const z = 1.959963984540054, rate = hits / rows, spread = z * z / rows;
    const centre = (rate + spread / 2) / (1 + spread);
    const half = z * Math.sqrt(rate * (1 - rate) / rows + spread / rows / 4) / (1 + spread);
    return [rate, Math.max(0, centre - half), Math.min(1, centre + half)];
  };

  // The captured share of conversions at each tenth, from the largest probabilities on.
  const gains = (scores, steps) => {
    const rows = Array(steps).fill(0), hits = Array(steps).fill(0);
    for (const row of scores) { rows[steps - 1 - row[3]] += row[4]; hits[steps - 1 - row[3]] += row[5]; }
    const all = sum(scores, 4), won = sum(scores, 5);
    return Array.from({length: 10}, (_, i) => {
      let left = (i + 1) / 10 * all, captured = 0;
      for (let step = 0; step < steps && left > 1e-9; step++) {
        const part = rows[step] ? Math.min(1, left / rows[step]) : 0;
        captured += part * hits[step];
        left -= part * rows[step];
      }
      return won ? captured / won : null;
    });
  };

  const filter = (page) => {
    const box = page.querySelector("#slices"), form = box.querySelector(".filters");
    const data = JSON.parse(document.getElementById("slices-data").textContent);
    const all = {leads: cells(data.leads), scores: cells(data.scores)};
    const number = (value) => new Intl.NumberFormat(page.lang).format(value);
    const percent = (value, digits = 1) => new Intl.NumberFormat(page.lang,
      {style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits}).format(value);
    const plain = (value) => new Intl.NumberFormat(page.lang,
      {minimumFractionDigits: 1, maximumFractionDigits: 1}).format(100 * value);
    // One sign for both ends, as in the other tables.
    const rate = (figure) => figure ? `${percent(figure[0])} (${plain(figure[1])}\u2060\u2013\u2060${percent(figure[2])})` : "\u2013";
    const columns = ["period", "segment", "channel"];
    // One row of a table: texts, the unrounded numbers behind them, and the share that its bar shows.
    const fill = (table, rows) => [...(table?.tBodies[0].rows ?? [])].forEach((row, i) => {
      const {texts, values, bar} = rows[i];
      texts.forEach((text, j) => { row.cells[j + 1].textContent = text; });
      row.dataset.values = JSON.stringify(values);
      const span = row.querySelector(".bar span");
      span.style.width = `${100 * (bar ?? 0)}%`;
      span.title = `${row.cells[0].textContent}: ${texts.join(", ")}`;
    });
    const table = (name) => box.querySelector(`table[data-of="${name}"]`);
    const update = () => {
      const chosen = columns.map((name) => form.querySelector(`[data-filter="${name}"]`)?.value ?? "");
      const fits = (row) => chosen.every((place, i) => place === "" || row[i] === Number(place));
      const leads = all.leads.filter(fits), scores = all.scores.filter(fits);
      const stages = Array.from({length: data.stages}, (_, i) => sum(leads, 6 + i));
      fill(table("funnel"), stages.map((count) => ({
        texts: [number(count), stages[0] ? percent(count / stages[0]) : "\u2013"], values: [count],
        bar: count / Math.max(1, stages[0]),
      })));
      const channels = [...Array(data.channels).keys(), -1].map((place) => {
        const own = leads.filter((row) => row[2] === place);
        return [sum(own, 3), wilson(sum(own, 5), sum(own, 4))];
      });
      const best = Math.max(1e-9, ...channels.map(([, figure]) => figure ? figure[0] : 0));
      fill(table("channels"), channels.map(([count, figure]) => ({
        texts: [number(count), rate(figure)], values: [count, figure], bar: (figure?.[0] ?? 0) / best,
      })));
      fill(table("calibration"), Array.from({length: 10}, (_, group) => {
        const own = scores.filter((row) => Math.floor(row[3] * 10 / data.steps) === group), rows = sum(own, 4);
        const forecast = rows ? sum(own, 6) / rows : null;
        const observed = wilson(sum(own, 5) / data.design, rows / data.design);
        return {
          texts: [number(rows), rows ? percent(forecast) : "\u2013", rate(observed)],
          values: [rows, forecast, observed], bar: observed?.[0],
        };
      }));
      fill(table("gains"), gains(scores, data.steps).map((share) => ({
        texts: [share === null ? "\u2013" : percent(share)], values: [share], bar: share,
      })));
      const output = box.querySelector("output"), whole = wilson(sum(leads, 5), sum(leads, 4));
      output.textContent = fillIn(output.dataset.sentence,
        {leads: number(sum(leads, 3)), rate: rate(whole), rows: number(sum(scores, 4))});
      output.dataset.values = JSON.stringify([sum(leads, 3), whole, sum(scores, 4)]);
    };
    form.addEventListener("input", update);
    form.addEventListener("reset", () => setTimeout(update));
    form.addEventListener("submit", (event) => event.preventDefault());
    update();
  };

  // A link to a section opens it.
  const unfold = (page) => {
    const target = location.hash.length > 1 && page.querySelector(`section[id="${CSS.escape(location.hash.slice(1))}"]`);
    const fold = target && target.querySelector(".fold");
    if (fold) fold.open = true;
  };

  // The contents mark the section that is being read.
  const follow = (page) => {
    const links = new Map([...page.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
    const seen = new IntersectionObserver((changes) => {
      for (const {target, isIntersecting} of changes) {
        if (!isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(target.id)?.setAttribute("aria-current", "location");
      }
    }, {rootMargin: "-20% 0px -75% 0px"});
    for (const section of page.querySelectorAll("main section")) seen.observe(section);
  };

  const shown = () => document.querySelector("body > .page");

  const speak = (lang) => {
    const template = document.querySelector(`template[data-lang="${lang}"]`), before = shown();
    const kept = document.createElement("template");
    kept.dataset.lang = before.lang;
    before.replaceWith(template.content);
    kept.content.append(before);
    template.replaceWith(kept);
    start();
    shown().querySelector(`button[data-lang="${lang}"]`).focus();
  };

  const start = () => {
    const page = shown();
    root.lang = page.lang;
    document.title = page.dataset.title;
    if (page.dataset.started) return;
    page.dataset.started = "yes";
    for (const button of page.querySelectorAll("button[data-lang]"))
      button.addEventListener("click", () => button.dataset.lang === page.lang || speak(button.dataset.lang));
    if (page.querySelector(".slider")) slide(page);
    if (page.querySelector("#slices")) filter(page);
    follow(page);
    unfold(page);
    for (const link of page.querySelectorAll('a[href^="#"]'))
      link.addEventListener("click", () => setTimeout(() => unfold(page)));
  };

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.fold:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("hashchange", () => unfold(shown()));
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  start();
})();
