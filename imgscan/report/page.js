// The HTML report: sorting and filtering of the pictures, and the sliders.  Without it the page can be read all the same.
document.body.classList.add('on');
const table = document.getElementById('t');
const rows = [...table.tBodies[0].rows];
const words = document.getElementById('q');
const only = document.getElementById('only');
const undecided = document.getElementById('undecided');

function filter() {
  const text = words.value.toLowerCase();
  let shown = 0;
  for (const row of rows) {
    const open = row.dataset.flagged === '1' && !row.dataset.decision;
    const wanted = (!only.checked || row.dataset.flagged === '1') && (!undecided.checked || open);
    const show = row.cells[0].textContent.toLowerCase().includes(text) && wanted;
    row.hidden = !show;
    const link = row.cells[0].querySelector('a');
    if (link) document.querySelector(link.getAttribute('href')).hidden = !show;
    shown += show;
  }
  document.getElementById('n').textContent = `${shown} of ${rows.length} pictures`;
}
words.addEventListener('input', filter);
only.addEventListener('change', filter);
undecided.addEventListener('change', filter); // only then: what was just decided stays until its note is written
document.getElementById('filter').addEventListener('submit', (event) => event.preventDefault());

for (const button of table.querySelectorAll('th button')) {
  button.addEventListener('click', () => {
    const head = button.parentElement;
    const column = Number(button.dataset.c);
    const down = head.getAttribute('aria-sort') !== 'descending';
    for (const other of table.querySelectorAll('th')) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = (row) => {
      const cell = row.cells[column];
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      const order = typeof x === 'number' ? x - y : x.localeCompare(y);
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  });
}

for (const slider of document.querySelectorAll('input[type=range]')) {
  slider.addEventListener('input', () => {
    const over = document.querySelector(`#f${slider.dataset.f} .over`);
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  });
}
filter();
