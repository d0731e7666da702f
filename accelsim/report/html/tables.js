"use strict";

const narrow = matchMedia("screen and (max-width: 40rem)").matches;

// A table of the page: sorts by the head that is clicked, filters by words and by chosen labels,
// shows the columns that are chosen, and says where it goes on beyond its frame.
class Grid {
  constructor(element) {
    const data = JSON.parse(element.querySelector("script").textContent);
    this.columns = data.columns;
    this.page = data.page;
    this.shown = this.page;
    this.order = this.columns.length ? this.columns[0].rows.map((_, row) => row) : [];
    this.words = [];
    this.chosen = new Map();
    this.choices = new Map();
    this.hidden = new Set(
      this.columns.flatMap(({ rank }, place) =>
        rank === "asked" || (narrow && rank !== "always") ? [place] : [],
      ),
    );
    this.body = element.querySelector("tbody");
    this.frame = element.querySelector(".frame");
    this.scroll = element.querySelector(".scroll");
    this.heads = [...element.querySelectorAll("thead th")];
    this.heads.forEach((head, place) => this.makeSortable(head, place));
    this.makeControls(element.querySelector(".controls"));
    this.makeMore(element);
    this.draw();
    const tell = () => this.tellCut();
    this.scroll.addEventListener("scroll", tell, { passive: true });
    new ResizeObserver(tell).observe(this.scroll);
  }

  tellCut() {
    const { scrollLeft, clientWidth, scrollWidth } = this.scroll;
    const beyond = scrollWidth - clientWidth - scrollLeft > 2;
    this.frame.classList.toggle("cut", beyond);
    this.further.textContent = beyond ? "more columns to the right →" : "";
  }

  makeSortable(head, place) {
    // A head with a <button> in it is not repeated on every printed page.
    const button = document.createElement("span");
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.textContent = head.textContent;
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      this.heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      this.sort(place, down ? -1 : 1);
    });
    head.replaceChildren(button);
  }

  makeControls(controls) {
    const search = document.createElement("input");
    search.type = "search";
    search.addEventListener("input", () => {
      this.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.refilter();
    });
    controls.append(this.labelled("find", search));
    if (this.columns.length > 4) controls.append(this.makeChooser());
    this.columns.forEach((column, place) => {
      if (!column.choose) return;
      const select = document.createElement("select");
      select.append(new Option("all", ""));
      column.texts.forEach((text, index) => select.append(new Option(text, String(index))));
      select.addEventListener("change", () => {
        if (select.value === "") this.chosen.delete(place);
        else this.chosen.set(place, Number(select.value));
        this.refilter();
      });
      const label = this.labelled(column.title, select);
      this.choices.set(place, label);
      controls.append(label);
    });
    this.count = document.createElement("p");
    this.count.className = "count";
    this.count.setAttribute("role", "status");
    this.further = document.createElement("p");
    this.further.className = "count";
    controls.append(this.count, this.further);
    controls.hidden = false;
  }

  makeChooser() {
    const chooser = document.createElement("details");
    chooser.className = "columns";
    const summary = document.createElement("summary");
    const say = () => {
      const shown = this.columns.length - this.hidden.size;
      summary.textContent = `columns: ${shown} of ${this.columns.length}`;
    };
    const list = document.createElement("div");
    this.columns.forEach(({ title }, place) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !this.hidden.has(place);
      box.addEventListener("change", () => {
        if (box.checked) this.hidden.delete(place);
        else this.hidden.add(place);
        say();
        this.draw();
      });
      list.append(this.labelled(title, box));
    });
    say();
    chooser.append(summary, list);
    chooser.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") chooser.open = false;
    });
    document.addEventListener("click", ({ target }) => {
      if (!chooser.contains(target)) chooser.open = false;
    });
    return chooser;
  }

  makeMore(element) {
    const button = (text, step) => {
      const made = document.createElement("button");
      made.type = "button";
      made.className = "more";
      made.textContent = text;
      made.addEventListener("click", () => {
        this.shown += step;
        this.draw();
      });
      element.append(made);
      return made;
    };
    this.more = [button(`${this.page} more rows`, this.page), button("all rows", Infinity)];
  }

  labelled(name, control) {
    const label = document.createElement("label");
    label.append(name, control);
    return label;
  }

  sort(place, direction) {
    const { rows, keys, texts } = this.columns[place];
    const collator = new Intl.Collator("en", { numeric: true });
    const compare = keys
      ? (a, b) => direction * (keys[a] - keys[b])
      : (a, b) => direction * collator.compare(texts[a], texts[b]);
    const missing = (value) => Number(keys !== null && keys[value] === null);
    this.order.sort((one, other) => {
      const [a, b] = [rows[one], rows[other]];
      return missing(a) - missing(b) || (a === b ? 0 : compare(a, b)) || one - other;
    });
    this.draw();
  }

  refilter() {
    this.shown = this.page;
    this.draw();
  }

  // Which of a column's texts hold a word: a column has far fewer texts than rows.
  matches(word) {
    return this.columns.map(({ texts }) => texts.map((text) => text.toLowerCase().includes(word)));
  }

  filtered() {
    const matches = this.words.map((word) => this.matches(word));
    return this.order.filter(
      (row) =>
        [...this.chosen].every(([place, text]) => this.columns[place].rows[row] === text) &&
        matches.every((found) => found.some((texts, place) => texts[this.columns[place].rows[row]])),
    );
  }

  draw() {
    const rows = this.filtered();
    const visible = rows.slice(0, this.shown);
    const drawn = document.createDocumentFragment();
    for (const row of visible) {
      const line = document.createElement("tr");
      this.columns.forEach(({ rows: places, texts, keys, classed }, place) => {
        if (this.hidden.has(place)) return;
        const cell = document.createElement("td");
        const text = texts[places[row]];
        if (keys) cell.className = "number";
        if (classed && /^[a-z]+$/.test(text)) cell.classList.add(text);
        cell.textContent = text;
        line.append(cell);
      });
      drawn.append(line);
    }
    if (!rows.length) {
      const cell = document.createElement("td");
      cell.colSpan = this.columns.length - this.hidden.size || 1;
      cell.textContent = "no row matches";
      drawn.append(document.createElement("tr"));
      drawn.lastChild.append(cell);
    }
    this.body.replaceChildren(drawn);
    this.heads.forEach((head, place) => {
      head.classList.remove("asked");
      head.hidden = this.hidden.has(place);
    });
    this.choices.forEach((label, place) => {
      label.hidden = this.hidden.has(place) && !this.chosen.has(place);
    });
    const total = this.order.length;
    const found = rows.length === total ? `${total} rows` : `${rows.length} of ${total} rows`;
    this.count.textContent = visible.length < rows.length ? `${found}, ${visible.length} shown` : found;
    this.more.forEach((button) => (button.hidden = visible.length === rows.length));
    this.tellCut();
  }
}

for (const element of document.querySelectorAll(".grid")) new Grid(element);
