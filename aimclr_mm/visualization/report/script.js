// What the pointer shows on charts, confusion matrices and embeddings, and the sorting of tables.
(() => {
  'use strict';
  const data = JSON.parse(document.getElementById('data').textContent);
  const tip = document.getElementById('tip');

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;

    const gap = event.pointerType === 'touch' ? 36 : 14; // keep clear of the finger
    const fits = event.clientX + gap + tip.offsetWidth <= innerWidth;
    const left = fits ? event.clientX + gap : event.clientX - gap - tip.offsetWidth;
    const lowest = innerHeight - tip.offsetHeight - 4;
    const top = Math.min(event.clientY - tip.offsetHeight / 2, lowest);
    tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  // Call move(point in SVG units, event) while the pointer is over the drawing, leave() afterwards.
  function follow(svg, move, leave) {
    const inside = event => {
      const toSvg = svg.getScreenCTM().inverse();
      move(new DOMPoint(event.clientX, event.clientY).matrixTransform(toSvg), event);
    };
    svg.addEventListener('pointermove', inside);
    svg.addEventListener('pointerdown', inside);
    svg.addEventListener('pointerleave', leave);
    svg.addEventListener('pointercancel', leave);
  }

  // Return index and distance of the nearest of count items.
  function nearest(count, distance) {
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < count; i++) {
      const d = distance(i);
      if (d < least) {
        least = d;
        best = i;
      }
    }
    return [best, least];
  }

  function show(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.setAttribute('visibility', 'visible');
  }

  function hide(element) {
    element.setAttribute('visibility', 'hidden');
  }

  // Show all values of the nearest epoch.
  function enableChart(svg) {
    const { epochs, positions, series } = data.charts[svg.dataset.chart];
    const cursor = svg.querySelector('.cursor');
    const leave = () => {
      hideTip();
      hide(cursor);
    };

    follow(svg, (point, event) => {
      const [i] = nearest(positions.length, k => Math.abs(positions[k] - point.x));
      show(cursor, { x1: positions[i], x2: positions[i] });
      const lines = series
        .filter(s => s.values[i] !== null)
        .map(s => `${s.label}: ${+s.values[i].toPrecision(4)}`);
      showTip(event, [`epoch ${epochs[i]}`, ...lines].join('\n'));
    }, leave);
  }

  // Show the classes and the count of a cell.
  function enableMatrix(svg) {
    const { classes, counts } = data.matrices[svg.dataset.matrix];
    const frame = svg.querySelector('.frame');
    const here = svg.querySelector('.here');
    const start = Number(frame.getAttribute('x'));
    const side = Number(frame.getAttribute('width'));
    const leave = () => {
      hideTip();
      hide(here);
    };

    follow(svg, (point, event) => {
      const cell = value => Math.floor((value - start) / side * classes.length);
      const [column, row] = [cell(point.x), cell(point.y)];
      const count = counts[row]?.[column];
      if (count === undefined) return leave();

      show(here, { x: column, y: row });
      const total = counts[row].reduce((a, b) => a + b, 0);
      const share = total ? ` (${(100 * count / total).toFixed(1)} %)` : '';
      const names = `true: ${classes[row]}\npredicted: ${classes[column]}`;
      showTip(event, `${names}\n${count} of ${total}${share}`);
    }, leave);
  }

  // Show name and class of the nearest point; highlight its class, or the one that is selected.
  function enableEmbedding(svg) {
    const points = data.embeddings[svg.dataset.embedding];
    const reach = 14; // SVG units
    const here = svg.querySelector('.here');
    const paths = svg.querySelectorAll('path');
    const select = document.querySelector(`[data-highlight="${svg.dataset.embedding}"]`);
    const highlight = choice => {
      svg.classList.toggle('chosen', choice !== '');
      paths.forEach((path, i) => path.classList.toggle('on', String(i) === choice));
    };
    const leave = () => {
      hideTip();
      hide(here);
      highlight(select.value);
    };

    select.addEventListener('change', () => highlight(select.value));
    follow(svg, (point, event) => {
      const [i, distance] = nearest(points.x.length, k => {
        const selectable = select.value === '' || String(points.index[k]) === select.value;
        return selectable ? Math.hypot(points.x[k] - point.x, points.y[k] - point.y) : Infinity;
      });
      if (distance > reach) return leave();

      show(here, { cx: points.x[i], cy: points.y[i] });
      highlight(String(points.index[i]));
      showTip(event, `${points.names[i]}\n${points.classes[points.index[i]]}`);
    }, leave);
  }

  // Sort the rows by the column whose heading is clicked.
  function enableSorting(table) {
    const heads = [...table.querySelectorAll('thead th')];
    const body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector('button')?.addEventListener('click', () => {
      const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');

      const value = row => Number(row.cells[column].dataset.value);
      body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
    }));
  }

  document.querySelectorAll('[data-chart]').forEach(enableChart);
  document.querySelectorAll('[data-matrix]').forEach(enableMatrix);
  document.querySelectorAll('[data-embedding]').forEach(enableEmbedding);
  document.querySelectorAll('.sortable').forEach(enableSorting);
})();
