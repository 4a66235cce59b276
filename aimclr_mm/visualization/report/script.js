(() => {
  'use strict';
  const data = JSON.parse(document.getElementById('data').textContent);
  const tip = document.getElementById('tip');

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const gap = event.pointerType === 'touch' ? 36 : 14;
    const left = event.clientX + gap + tip.offsetWidth > innerWidth ? event.clientX - gap - tip.offsetWidth : event.clientX + gap;
    const top = Math.min(event.clientY - tip.offsetHeight / 2, innerHeight - tip.offsetHeight - 4);
    tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  // calls move(place in SVG units, event) while the pointer is over the drawing and leave() afterwards
  function follow(svg, move, leave) {
    const inside = event => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      move(place, event);
    };
    const outside = () => { tip.hidden = true; leave(); };
    svg.addEventListener('pointermove', inside);
    svg.addEventListener('pointerdown', inside);
    svg.addEventListener('pointerleave', outside);
    svg.addEventListener('pointercancel', outside);
  }

  function nearest(count, distance) {
    let best = -1, least = Infinity;
    for (let i = 0; i < count; i++) {
      const d = distance(i);
      if (d < least) { least = d; best = i; }
    }
    return [best, least];
  }

  for (const svg of document.querySelectorAll('[data-chart]')) {
    const chart = data.charts[svg.dataset.chart], cursor = svg.querySelector('.cursor');
    follow(svg, (place, event) => {
      const [i] = nearest(chart.places.length, k => Math.abs(chart.places[k] - place.x));
      cursor.setAttribute('x1', chart.places[i]);
      cursor.setAttribute('x2', chart.places[i]);
      cursor.setAttribute('visibility', 'visible');
      const lines = chart.series.filter(s => s.values[i] !== null).map(s => `${s.label}: ${+s.values[i].toPrecision(4)}`);
      showTip(event, [`epoch ${chart.epochs[i]}`, ...lines].join('\n'));
    }, () => cursor.setAttribute('visibility', 'hidden'));
  }

  for (const svg of document.querySelectorAll('[data-matrix]')) {
    const { classes, counts } = data.matrices[svg.dataset.matrix], here = svg.querySelector('.here');
    const hide = () => { tip.hidden = true; here.setAttribute('visibility', 'hidden'); };
    follow(svg, (place, event) => {
      const [column, row] = [place.x, place.y].map(v => Math.floor((v - 34) / 480 * classes.length));
      if (!counts[row] || counts[row][column] === undefined) return hide();
      here.setAttribute('x', column);
      here.setAttribute('y', row);
      here.setAttribute('visibility', 'visible');
      const count = counts[row][column], total = counts[row].reduce((a, b) => a + b, 0);
      const share = total ? ` (${(100 * count / total).toFixed(1)} %)` : '';
      showTip(event, `true: ${classes[row]}\npredicted: ${classes[column]}\n${count} of ${total}${share}`);
    }, hide);
  }

  for (const svg of document.querySelectorAll('[data-embedding]')) {
    const points = data.embeddings[svg.dataset.embedding], here = svg.querySelector('.here');
    const paths = svg.querySelectorAll('path'), select = document.querySelector(`[data-highlight="${svg.dataset.embedding}"]`);
    const highlight = choice => {
      svg.classList.toggle('chosen', choice !== '');
      paths.forEach((path, i) => path.classList.toggle('on', String(i) === choice));
    };
    const hide = () => { tip.hidden = true; here.setAttribute('visibility', 'hidden'); highlight(select.value); };
    select.addEventListener('change', () => highlight(select.value));
    follow(svg, (place, event) => {
      const [i, distance] = nearest(points.x.length, k => select.value === '' || String(points.index[k]) === select.value
        ? Math.hypot(points.x[k] - place.x, points.y[k] - place.y) : Infinity);
      if (distance > 14) return hide();
      here.setAttribute('cx', points.x[i]);
      here.setAttribute('cy', points.y[i]);
      here.setAttribute('visibility', 'visible');
      highlight(String(points.index[i]));
      showTip(event, `${points.names[i]}\n${points.classes[points.index[i]]}`);
    }, hide);
  }

  for (const table of document.querySelectorAll('.sortable')) {
    const heads = [...table.querySelectorAll('thead th')], body = table.tBodies[0];
    heads.forEach((head, column) => head.querySelector('button')?.addEventListener('click', () => {
      const sign = head.getAttribute('aria-sort') === 'ascending' ? -1 : 1;
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', sign > 0 ? 'ascending' : 'descending');
      const value = row => Number(row.cells[column].dataset.value);
      body.append(...[...body.rows].sort((a, b) => sign * (value(a) - value(b))));
    }));
  }
})();
