"use strict";
(() => {
  const ADDRESS = /^#(staff|student)\/([0-9a-f]{2})\/([a-z0-9_][a-z0-9_.-]*)$/;
  const byId = (id) => document.getElementById(id);
  const style = document.head.appendChild(document.createElement("style"));
  const packs = new Map();
  const arrived = new Map();
  let saved = "";

  // A page opened from a disk may not read files beside it, but may run them: so packs are scripts.
  window.pack = (name, text) => arrived.get(name)?.(text);

  function load(name) {
    if (!packs.has(name)) {
      packs.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = `pages/${name}.js`;
        script.addEventListener("error", () => {
          packs.delete(name);
          reject(new Error(`pages/${name}.js cannot be read`));
        });
        arrived.set(name, resolve);
        document.head.append(script);
      }).then(unpacked));
    }
    return packs.get(name);
  }

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  async function show() {
    const address = location.hash;
    const [, kind, name, key] = address.match(ADDRESS) || [];
    if (!kind) {
      say("A submission's page opens from ");
      return;
    }
    let pages = {};
    let trouble = "it is not in the report";
    try {
      pages = (await load(name))[kind];
    } catch (error) {
      trouble = error.message;
    }
    // Another page may have been asked for meanwhile.
    if (location.hash !== address) return;
    if (Object.hasOwn(pages, key)) draw(pages[key], kind, `${name}/${key}`, `${key}.html`);
    else say(`This page cannot be shown (${trouble}): \`backprop report\` makes it again. Back to `);
  }

  // What is parsed runs no script, and this page's policy forbids all but its own.
  function draw(html, kind, address, file) {
    const page = new DOMParser().parseFromString(html, "text/html");
    document.title = page.title;
    style.textContent = [...page.head.querySelectorAll("style")].map((each) => each.textContent).join("\n");
    document.body.className = page.body.className;
    byId("page").replaceChildren(...page.body.childNodes);
    byId("bar").hidden = kind === "staff";
    byId("staff").href = `#staff/${address}`;
    URL.revokeObjectURL(saved);
    saved = URL.createObjectURL(new Blob([html], { type: "text/html" }));
    byId("save").href = saved;
    byId("save").download = file;
    scrollTo(0, 0);
  }

  function say(text) {
    const link = document.createElement("a");
    link.href = "index.html";
    link.textContent = "the page of the class";
    const line = document.createElement("p");
    line.className = "note";
    line.append(text, link, ".");
    byId("bar").hidden = true;
    byId("page").replaceChildren(line);
  }

  addEventListener("hashchange", show);
  show();
})();
