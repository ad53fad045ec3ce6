// The page's only script: another language, the slider, and open sections on paper. Without it the page is whole.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  const fill = (sentence, values) => sentence.replace(/{(\w+)}/g, (_, name) => values[name]);

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
      const text = fill(output.dataset.sentence, {
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
