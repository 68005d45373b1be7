"use strict";
(() => {
  const root = document.getElementById("storefront");
  const data = JSON.parse(document.getElementById("storefront-data").textContent);
  const start = Number((location.hash.match(/^#customer-(\d+)$/) || [])[1]);
  const alone = document.body.classList.contains("storefront-alone");
  let current = Math.max(0, data.customers.findIndex((customer) => customer.id === start));

  // An element with attributes and children; text always becomes text, never markup.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  function picture(item, size) {
    const [title, , alt, code] = data.products[item];
    const source = "data:image/webp;base64," + code;
    return make("img", { src: source, alt, title, width: size, height: size });
  }

  function number(value) {
    return value.toFixed(3).replace(/^0/, "");
  }

  function card(item, place, hit, reason) {
    const [title, price] = data.products[item];
    const because = reason < 0 ? null : make("p", { class: "sf-because" },
      make("span", {}, "because of "), picture(reason, 22));
    if (because) because.title = "because this customer bought: " + data.products[reason][0];
    return make("li", { class: hit ? "sf-card sf-hit" : "sf-card" },
      make("div", { class: "sf-picture" }, picture(item, 64),
        hit ? make("strong", { class: "sf-badge" }, "bought next")
            : place ? make("span", { class: "sf-place", "aria-hidden": "true" }, place) : null),
      make("p", { class: "sf-title", title }, title),
      make("p", { class: "sf-price" }, "€\u00a0" + price),
      because);
  }

  function row(label, cards) {
    return make("ol", { class: "sf-row", tabindex: "0", "aria-label": label }, ...cards);
  }

  function shelf(each, index, customer) {
    const list = customer.lists[index];
    const found = list.findIndex((item) => customer.next.includes(item));
    const name = alone ? each.title
      : make("a", { href: "../notebooks/" + each.chapter + ".html" }, each.title);
    const bar = make("span", { class: "sf-bar", "aria-hidden": "true" }, make("span", {}));
    bar.firstChild.style.width = Math.min(100, 100 * (each.share || 0)) + "%";
    const percent = each.share === null || each.share === 1 ? ""
      : ", " + Math.round(100 * each.share) + " % of the oracle";
    const here = found < 0 ? "not found" : "found at place " + (found + 1);
    const cards = list.map((item, place) =>
      card(item, String(place + 1), customer.next.includes(item), customer.reasons[index][place]));
    return make("section", { class: "sf-shelf" },
      make("div", { class: "sf-head" },
        make("h3", {}, name), make("span", { class: "sf-about" }, each.about),
        make("span", { class: "sf-score" },
          make("b", {}, here), ", nDCG " + number(customer.ndcg[index]) + " · all customers ",
          make("b", {}, number(each.mean)), percent, bar)),
      row(each.title + ", best first", cards));
  }

  function show(index, asked = true) {
    const n = data.customers.length;
    current = (index + n) % n;
    const customer = data.customers[current];
    select.value = String(current);
    who.textContent = "Customer " + customer.id + ": " + customer.who + ".";
    const more = customer.n_before - customer.before.length;
    const label = more > 0 ? "Bought before, the last " + customer.before.length + " of "
      + customer.n_before : "Bought before";
    view.replaceChildren(
      make("div", { class: "sf-known" },
        make("section", { class: "sf-before" }, make("h3", {}, label),
          make("ol", { class: "sf-strip", tabindex: "0", "aria-label": label + ", oldest first" },
            ...customer.before.map((item) => make("li", {}, picture(item, 48))))),
        make("section", { class: "sf-next" }, make("h3", {}, "Bought next, hidden from the shelves"),
          make("ol", { class: "sf-strip" }, ...customer.next.map((item) => make("li", {},
            picture(item, 48), make("span", {}, data.products[item][0])))))),
      ...data.shelves.map((each, place) => shelf(each, place, customer)));
    if (asked && !alone) history.replaceState(null, "", "#customer-" + customer.id);
  }

  const select = make("select", { id: "sf-customer" }, ...data.customers.map((customer, index) =>
    make("option", { value: String(index) }, customer.id + ": " + customer.who)));
  const back = make("button", { type: "button", "aria-label": "previous customer" }, "←");
  const forth = make("button", { type: "button", "aria-label": "next customer" }, "→");
  const who = make("p", { class: "sf-who", "aria-live": "polite" });
  const view = make("div", { class: "sf-view" });
  select.addEventListener("change", () => show(Number(select.value)));
  back.addEventListener("click", () => show(current - 1));
  forth.addEventListener("click", () => show(current + 1));
  const source = "Shop " + data.shop.profile + ", " + data.shop.hash + ": "
    + data.shop.n_products.toLocaleString("en") + " products; means over "
    + data.shop.n_customers.toLocaleString("en") + " customers; nDCG at " + data.k + ".";
  root.replaceChildren(
    make("div", { class: "sf-choose" }, make("label", { for: "sf-customer" }, "Choose a customer"),
      make("span", { class: "sf-controls" }, back, select, forth)),
    who, view, make("p", { class: "sf-source" }, source));
  show(current, false);
})();
