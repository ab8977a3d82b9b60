// The HTML report: a reviewer's decisions.  Each is kept in this browser, by run and picture, until all are saved as decisions.jsonl.
const bar = document.getElementById('decisions');
const choices = [...document.querySelectorAll('fieldset.review')].map((box) => ({
  box,
  section: box.closest('section'),
  row: table.querySelector(`a[href="#${box.closest('section').id}"]`).closest('tr'),
  picture: JSON.parse(box.dataset.picture),
  radios: [...box.querySelectorAll('input[type=radio]')],
  note: box.querySelector('input[type=text]'),
}));
const decisions = new Map(); // SHA-256 of a picture -> the end of its line; decision '' where it was taken back
let kept = true; // whether this browser keeps what is decided here
let saved = true;
let last = -1; // the finding that was decided last

const place = (sha256) => `imgscan ${JSON.parse(bar.dataset.foot).run} ${sha256}`;

function recall(sha256) {
  let text = null;
  try {
    text = localStorage.getItem(place(sha256));
  } catch { // as some browsers do for files
    kept = false;
  }
  try {
    const found = JSON.parse(text);
    return found && typeof found.decision === 'string' && typeof found.note === 'string' && Date.parse(found.time) ? found : null;
  } catch {
    return null;
  }
}

function keep(sha256, made) {
  try {
    localStorage.setItem(place(sha256), JSON.stringify(made));
  } catch { // forbidden, or full
    kept = false;
  }
}

function count() {
  const open = choices.filter((one) => !one.row.dataset.decision).length;
  document.getElementById('decided').textContent = `${choices.length - open} of ${choices.length} findings decided`;
  document.getElementById('next').disabled = !open;
  document.getElementById('save').disabled = open === choices.length;
  document.getElementById('lost').textContent = kept ? '' : 'This browser keeps no decisions for this page: save before you leave it.';
}

function show(sha256) {
  const made = decisions.get(sha256);
  for (const one of choices) {
    if (one.picture.sha256 !== sha256) continue; // copies of a picture are decided together
    for (const radio of one.radios) radio.checked = radio.value === made.decision;
    if (one.note.value !== made.note) one.note.value = made.note;
    one.row.dataset.decision = made.decision;
    one.row.cells[one.row.cells.length - 1].textContent = made.decision;
  }
}

for (const [number, one] of choices.entries()) {
  const { sha256, path } = one.picture;
  const given = one.box.dataset.review ? JSON.parse(one.box.dataset.review) : null;
  const found = recall(sha256);
  const made = found && (!given || Date.parse(found.time) > Date.parse(given.time)) ? found : given;
  if (made) {
    decisions.set(sha256, made);
    show(sha256);
  }
  one.box.addEventListener('input', () => {
    const decision = one.radios.find((radio) => radio.checked).value;
    const now = { decision, note: one.note.value, time: new Date().toISOString(), ...JSON.parse(bar.dataset.foot) };
    decisions.set(sha256, now);
    keep(sha256, now);
    saved = false;
    last = number;
    show(sha256);
    count();
  });
}

if (bar) {
  document.getElementById('next').addEventListener('click', () => {
    const order = [...choices.slice(last + 1), ...choices.slice(0, last + 1)].filter((one) => !one.row.dataset.decision);
    const next = order.find((one) => !one.section.hidden) || order[0];
    if (next.section.hidden) { // behind a filter
      words.value = '';
      filter();
    }
    last = choices.indexOf(next);
    next.section.scrollIntoView();
    next.radios.find((radio) => radio.checked).focus({ preventScroll: true });
  });
  document.getElementById('save').addEventListener('click', () => {
    const lines = new Map(); // one a picture, in the order of the page
    for (const one of choices) {
      const made = decisions.get(one.picture.sha256);
      if (made && made.decision && !lines.has(one.picture.sha256)) {
        lines.set(one.picture.sha256, { ...JSON.parse(bar.dataset.head), ...one.picture, ...made });
      }
    }
    const text = [...lines.values()].map((line) => `${JSON.stringify(line)}\n`).join('');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'application/x-ndjson' }));
    link.download = 'decisions.jsonl';
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
  });
  window.addEventListener('beforeunload', (event) => {
    if (!kept && !saved) event.preventDefault();
  });
  count();
}
filter();
