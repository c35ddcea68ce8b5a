"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const CHUNK = 200;
  const WORDS = { passed: "passed", failed: "failed", error: "error", not_run: "not run" };
  const MARKS = [["✓", "right"], ["✗", "wrong"], ["!", "raised"], ["–", "waits"]];
  const GRAVEST = ["1", "2", "3", "0"];
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const groups = [...new Set(data.checks.map((check) => check.group))];
  const members = groups.map((group) =>
    data.checks.flatMap((check, at) => (check.group === group ? [at] : [])));
  const checkAt = new Map(data.checks.map((check, at) => [check.id, at]));
  const mistakeAt = new Map(data.mistakes.map((mistake, at) => [mistake.key, at]));

  const rows = data.rows.map(([name, page, status, score, outcomes, mistakes, flags, seconds, reason]) => ({
    name, page, status: data.statuses[status], score, outcomes, mistakes, flags, seconds, reason,
    passed: outcomes.split("0").length - 1,
    found: plain(name),
  }));
  rows.forEach((row, at) => { row.at = at; });

  // The state is the address: a link from a number, the back button and a bookmark all work.
  const FILTERS = ["q", "status", "check", "outcome", "mistake", "flag", "score"];
  let state = {};
  let matching = rows;
  let shown = 0;

  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries([...FILTERS, "sort"].map((key) => [key, given.get(key) || ""]));
  }

  function address(next) {
    const kept = Object.entries(next).filter(([, value]) => value);
    return `#${new URLSearchParams(kept)}`;
  }

  function go(changes, { keep = false } = {}) {
    const next = address({ ...state, ...changes });
    history[keep ? "replaceState" : "pushState"](null, "", next);
    update();
  }

  function inRange(score, range) {
    if (score === null) return false;
    if (range === "full") return score === data.max;
    const [least, most] = range.split(":").map(Number);
    return score >= least - 1e-9 && score < most - 1e-9;
  }

  function statusIs(row, status) {
    if (status === "full") return row.score === data.max;
    if (status === "open") return row.score === null;
    if (status === "flagged") return row.flags.length > 0;
    return row.status === status;
  }

  function outcomeIs(row, at, outcome) {
    const code = row.outcomes[at];
    return outcome ? code === String(data.outcomes.indexOf(outcome)) : code !== undefined;
  }

  function matches(row) {
    return (!state.q || row.found.includes(plain(state.q)))
      && (!state.status || statusIs(row, state.status))
      && (!state.check || outcomeIs(row, checkAt.get(state.check), state.outcome))
      && (!state.mistake || row.mistakes.includes(mistakeAt.get(state.mistake)))
      && (!state.flag || row.flags.includes(state.flag))
      && (!state.score || inRange(row.score, state.score));
  }

  const VALUES = {
    name: (row) => row.at,
    score: (row) => (row.score === null ? -1 : row.score),
    passed: (row) => row.passed,
    flags: (row) => row.flags.length,
    seconds: (row) => row.seconds,
  };

  function sorted(found) {
    const down = state.sort.startsWith("-");
    const value = VALUES[state.sort.replace("-", "")];
    if (!value) return found;
    const sign = down ? -1 : 1;
    return [...found].sort((one, other) => sign * (value(one) - value(other)) || one.at - other.at);
  }

  function element(tag, name, ...children) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...children);
    return made;
  }

  function link(text, address, name) {
    const made = element("a", name, text);
    made.href = address;
    return made;
  }

  function strip(row) {
    const cell = element("td", "strip");
    cell.setAttribute("role", "cell");
    if (!row.outcomes) return cell;
    const said = [];
    members.forEach((places, at) => {
      const codes = places.map((place) => row.outcomes[place]);
      const gravest = GRAVEST.find((code) => codes.includes(code)) || "3";
      const [mark, name] = MARKS[gravest];
      cell.append(element("span", name, mark));
      said.push(`${groups[at]} ${WORDS[data.outcomes[gravest]]}`);
    });
    cell.title = said.join(", ");
    [...cell.children].forEach((mark) => mark.setAttribute("aria-hidden", "true"));
    cell.append(element("span", "heard", said.join(", ")));
    return cell;
  }

  function firstProblem(row) {
    if (row.reason) return row.reason;
    const at = [...row.outcomes].findIndex((code) => code === "1" || code === "2");
    if (at < 0) return "";
    const check = data.checks[at];
    const where = `${check.group} ${check.label}`;
    const said = row.mistakes.map((each) => data.mistakes[each].said);
    const mistake = said.find((each) => each.startsWith(`${where}: `));
    return mistake ? `${where} (${mistake.slice(where.length + 2)})` : where;
  }

  function drawn(row) {
    const name = element("th", "", link(row.name, `page.html#staff/${row.page}`, "person"));
    name.scope = "row";
    const score = row.score === null ? "open" : String(Math.round(row.score * 100) / 100);
    return element("tr", "", name,
      element("td", "figure", score),
      strip(row),
      element("td", "problem", firstProblem(row)),
      element("td", "flag", row.flags.length ? `⚑ ${row.flags.join(", ")}` : ""),
      element("td", "figure time", row.seconds.toFixed(2)),
      element("td", "for-student", link("page", `page.html#student/${row.page}`)));
  }

  function show(count) {
    const next = matching.slice(shown, shown + count);
    byId("rows").tBodies[0].append(...next.map(drawn));
    shown += next.length;
    const left = matching.length - shown;
    byId("more").hidden = !left;
    byId("all-rows").hidden = !left;
  }

  function said() {
    const chips = [];
    const check = data.checks[checkAt.get(state.check)];
    const mistake = data.mistakes[mistakeAt.get(state.mistake)];
    if (state.q) chips.push(["q", `name has “${state.q}”`]);
    if (state.status) chips.push(["status", byId("status").selectedOptions[0]?.textContent || state.status]);
    if (check) chips.push(["check", `${check.group} ${check.label}: ${WORDS[state.outcome] || "made"}`]);
    if (mistake) chips.push(["mistake", mistake.said]);
    if (state.flag) chips.push(["flag", `flag ${state.flag}`]);
    if (state.score) {
      const [least, most] = state.score.split(":");
      chips.push(["score", most ? `mark from ${least} to under ${most}` : "full marks"]);
    }
    return chips;
  }

  function drawChips() {
    const chips = said().map(([key, text]) => {
      const chip = element("button", "chip", `${text} ✕`);
      chip.type = "button";
      chip.setAttribute("aria-label", `Remove the filter: ${text}`);
      chip.addEventListener("click", () => go(key === "check" ? { check: "", outcome: "" } : { [key]: "" }));
      return chip;
    });
    if (chips.length > 1) {
      const clear = element("button", "chip", "clear all ✕");
      clear.type = "button";
      clear.addEventListener("click", () => go(Object.fromEntries(FILTERS.map((key) => [key, ""]))));
      chips.push(clear);
    }
    byId("chips").replaceChildren(...chips);
  }

  function update() {
    state = read();
    if (document.activeElement !== byId("q")) byId("q").value = state.q;
    for (const key of ["status", "check", "outcome"]) byId(key).value = state[key];
    byId("outcome").disabled = !state.check;
    matching = sorted(rows.filter(matches));
    byId("rows").tBodies[0].replaceChildren();
    shown = 0;
    show(Math.max(CHUNK, history.state?.shown || 0));
    const all = rows.length.toLocaleString("en");
    byId("found").textContent = matching.length === rows.length
      ? `${all} submissions`
      : `${matching.length.toLocaleString("en")} of ${all} submissions`;
    drawChips();
    for (const button of document.querySelectorAll("[data-sort]")) {
      const column = button.closest("th");
      const current = state.sort.replace("-", "") === button.dataset.sort
        || (!state.sort && button.dataset.sort === "name");
      const order = state.sort.startsWith("-") ? "descending" : "ascending";
      if (current) column.setAttribute("aria-sort", order);
      else column.removeAttribute("aria-sort");
    }
  }

  function more(count) {
    show(count);
    history.replaceState({ shown }, "");
  }

  // Thousands of rows at once would hold the page up.
  function all(found) {
    if (found !== matching || shown >= matching.length) return;
    more(2 * CHUNK);
    requestAnimationFrame(() => all(found));
  }

  function prepare() {
    for (const [at, group] of groups.entries()) {
      const options = element("optgroup", "");
      options.label = group;
      for (const place of members[at]) {
        const option = element("option", "", `${group} ${data.checks[place].label}`);
        option.value = data.checks[place].id;
        options.append(option);
      }
      byId("check").append(options);
    }
    byId("strip-key").textContent = `Columns, in order: ${groups.join(", ")}. `
      + "✓ passed, ✗ failed, ! error (exception, crash, timeout), "
      + "– not run (depends on a failed check).";
    byId("q").addEventListener("input", () => go({ q: byId("q").value }, { keep: true }));
    byId("status").addEventListener("change", () => go({ status: byId("status").value }));
    byId("check").addEventListener("change", () => {
      const check = byId("check").value;
      go({ check, outcome: check ? state.outcome || "failed" : "" });
    });
    byId("outcome").addEventListener("change", () => go({ outcome: byId("outcome").value }));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => {
        const key = button.dataset.sort;
        const first = key === "name" ? key : `-${key}`;
        const second = key === "name" ? `-${key}` : key;
        go({ sort: state.sort === first || (!state.sort && key === "name") ? second : first }, { keep: true });
      });
    }
    byId("more-rows").addEventListener("click", () => more(CHUNK));
    byId("all-rows").addEventListener("click", () => all(matching));
    new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) more(CHUNK);
    }, { rootMargin: "600px" }).observe(byId("more"));
    // A link from a number: to the table, filtered. A link within the page leaves the filters.
    document.addEventListener("click", (event) => {
      const target = event.target.closest("a[href^='#']");
      if (!target) return;
      event.preventDefault();
      const wanted = target.getAttribute("href");
      if (wanted === "#" || wanted.includes("=")) {
        history.pushState(null, "", wanted);
        update();
      }
      const place = byId("submissions");
      place.scrollIntoView();
      place.focus({ preventScroll: true });
    });
    window.addEventListener("popstate", update);
    window.addEventListener("hashchange", update);
    for (const id of ["filters", "rows", "strip-key"]) byId(id).hidden = false;
    byId("strip-key").hidden = !groups.length;
    update();
  }

  prepare();
})();
