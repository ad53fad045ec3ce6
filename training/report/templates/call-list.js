// The page's only script: search and filters. Without it the list is whole.
"use strict";
(() => {
  document.documentElement.classList.add("js");
  const fields = ["search", "grade", "owner"].map((id) => document.getElementById(id));
  const [search, grade, owner] = fields;
  const count = document.getElementById("count");
  const leads = [...document.querySelectorAll(".leads > li")];
  // What a lead is known by, not its figures and reasons: "17" is then a name and not any percentage.
  const texts = leads.map((lead) => lead.querySelector(".who").textContent.toLocaleLowerCase());

  const matches = (lead, text) =>
    search.value.toLocaleLowerCase().split(/\s+/).every((word) => text.includes(word)) &&
    (!grade.value || lead.dataset.grade === grade.value) &&
    (!owner || !owner.value || lead.dataset.owner === owner.value);

  const filter = () => {
    leads.forEach((lead, i) => { lead.hidden = !matches(lead, texts[i]); });
    const shown = leads.filter((lead) => !lead.hidden).length;
    count.textContent = count.dataset.sentence.replace("{shown}", shown).replace("{all}", leads.length);
  };
  for (const field of fields) field?.addEventListener("input", filter);
  document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
