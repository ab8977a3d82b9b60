// As much of a browser as the page's script needs: the page comes as a tree on stdin, {html: [tag, attributes, children], steps: [...],
// storage: {...} or null where it is forbidden}; what the steps leave goes to stdout.  No layout, no style.
import { readFileSync } from 'node:fs';

const { html, script, steps, storage } = JSON.parse(readFileSync(0, 'utf-8'));

class Node {
  constructor(tag, attributes, children, parent) {
    Object.assign(this, { tag, attributes, parentElement: parent, listeners: {}, style: {}, hidden: 'hidden' in attributes });
    this.checked = 'checked' in attributes;
    this.disabled = false;
    this.value = attributes.value ?? '';
    this.dataset = {};
    for (const [name, value] of Object.entries(attributes)) if (name.startsWith('data-')) this.dataset[name.slice(5)] = value;
    this.children = children.map((one) => (typeof one === 'string' ? one : new Node(...one, this)));
    this.classList = { add: (name) => { this.attributes.class = `${this.attributes.class ?? ''} ${name}`; } };
  }
  get id() { return this.attributes.id ?? ''; }
  get elements() { return this.children.filter((one) => typeof one !== 'string'); }
  get all() { return this.elements.flatMap((one) => [one, ...one.all]); }
  get textContent() { return this.children.map((one) => (typeof one === 'string' ? one : one.textContent)).join(''); }
  set textContent(text) { this.children = [text]; }
  get tBodies() { return this.all.filter((one) => one.tag === 'tbody'); }
  get rows() { return this.elements.filter((one) => one.tag === 'tr'); }
  get cells() { return this.elements; }
  getAttribute(name) { return this.attributes[name] ?? null; }
  setAttribute(name, value) { this.attributes[name] = value; }
  removeAttribute(name) { delete this.attributes[name]; }
  append(...more) { for (const one of more) { one.remove(); one.parentElement = this; this.children.push(one); } }
  remove() { if (this.parentElement) this.parentElement.children = this.parentElement.children.filter((one) => one !== this); }
  is(part) {
    const [, tag, rest] = part.match(/^([a-z0-9]*)(.*)$/);
    const tests = rest.match(/#[\w-]+|\.[\w-]+|\[[^\]]+\]/g) ?? [];
    return (!tag || tag === this.tag) && tests.every((test) => {
      if (test[0] === '#') return this.id === test.slice(1);
      if (test[0] === '.') return (this.attributes.class ?? '').split(' ').includes(test.slice(1));
      const [name, value] = test.slice(1, -1).split('=');
      return this.attributes[name] === value.replace(/"/g, '');
    });
  }
  querySelectorAll(selector) {
    const parts = selector.split(' ');
    return this.all.filter((one) => {
      if (!one.is(parts.at(-1))) return false;
      let above = one.parentElement;
      for (const part of parts.slice(0, -1).reverse()) {
        while (above && !above.is(part)) above = above.parentElement;
        if (!above) return false;
        above = above.parentElement;
      }
      return true;
    });
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  closest(selector) { return this.is(selector) ? this : this.parentElement?.closest(selector) ?? null; }
  addEventListener(kind, does) { (this.listeners[kind] ??= []).push(does); }
  dispatch(kind, event = {}) {
    for (const does of this.listeners[kind] ?? []) does(event);
    if (kind === 'input' && this.parentElement) this.parentElement.dispatch(kind, event);
  }
  click() {
    if (this.attributes.download ?? this.download) out.saved = urls[this.href].text;
    if (!this.disabled) this.dispatch('click');
  }
  focus() { out.focus = this.closest('section').id; }
  scrollIntoView() {}
}

const urls = {};
const out = { saved: null, focus: null };
const document = new Node(...html, null);
document.body = document.querySelector('body');
document.getElementById = (id) => document.all.find((one) => one.id === id) ?? null;
document.createElement = (tag) => new Node(tag, {}, [], null);
const window = new Node('window', {}, [], null);
const forbidden = () => { throw new Error('SecurityError'); };
const localStorage = storage === null ? { getItem: forbidden, setItem: forbidden } : {
  getItem: (name) => storage[name] ?? null,
  setItem: (name, value) => { storage[name] = value; },
};
const Blob = function (parts) { this.text = parts.join(''); };
const URL = { createObjectURL: (blob) => { const name = `blob:${Object.keys(urls).length}`; urls[name] = blob; return name; }, revokeObjectURL() {} };
const run = new Function('document', 'window', 'localStorage', 'Blob', 'URL', 'setTimeout', script);
run(document, window, localStorage, Blob, URL, () => {});

for (const [what, where, value] of steps) {
  if (what === 'decide') {
    const radios = document.querySelectorAll(`#f${where} input[type=radio]`);
    for (const radio of radios) radio.checked = radio.value === value;
    radios.find((one) => one.checked).dispatch('input');
  } else if (what === 'note') {
    const field = document.querySelector(`#f${where} input[type=text]`);
    field.value = value;
    field.dispatch('input');
  } else if (what === 'check') {
    const box = document.getElementById(where);
    box.checked = value;
    box.dispatch('change');
  } else if (what === 'type') {
    document.getElementById(where).value = value;
    document.getElementById(where).dispatch('input');
  } else document.getElementById(where).click();
}
let stays = false;
window.dispatch('beforeunload', { preventDefault: () => { stays = true; } });
const rows = document.querySelectorAll('#t tr').filter((row) => row.cells[0].tag === 'td');
process.stdout.write(JSON.stringify({
  ...out,
  stays,
  storage,
  rows: rows.filter((row) => !row.hidden).map((row) => [row.cells[0].textContent, row.cells.at(-1).textContent]),
  sections: document.querySelectorAll('section.finding').filter((one) => !one.hidden).map((one) => one.id),
  chosen: document.querySelectorAll('input[type=radio]').filter((one) => one.checked).map((one) => one.value),
  notes: document.querySelectorAll('input[type=text]').map((one) => one.value),
  count: document.getElementById('decided')?.textContent,
  lost: document.getElementById('lost')?.textContent,
  disabled: ['next', 'save'].filter((id) => document.getElementById(id)?.disabled),
}));
