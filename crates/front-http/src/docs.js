'use strict';
const all = (query, within = document) => [...within.querySelectorAll(query)];
const one = (query, within = document) => within.querySelector(query);

// The theme: the system's until somebody chooses, and then for this browser.
const root = document.documentElement;
const remembered = { get: () => { try { return localStorage.getItem('weir-theme'); } catch { return null; } },
  set: theme => { try { localStorage.setItem('weir-theme', theme); } catch { /* It lasts as long as the page. */ } } };
const isDark = () => (root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
if (remembered.get()) root.dataset.theme = remembered.get();
one('#theme').addEventListener('click', () => {
  root.dataset.theme = isDark() ? 'light' : 'dark';
  remembered.set(root.dataset.theme);
});

// Search: every word must occur, in what is shown or folded away.
const search = one('#search');
const entries = all('details').map(entry => ({ entry, text: entry.textContent.toLowerCase() }));
const look = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { entry, text } of entries) entry.hidden = !words.every(word => text.includes(word));
  for (const section of all('section')) section.hidden = words.length !== 0 && all('details:not([hidden])', section).length === 0;
};
search.addEventListener('input', look);
addEventListener('keydown', event => {
  if (event.key !== '/' || /^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  event.preventDefault();
  search.focus();
});
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || target.tagName !== 'DETAILS') return;
  if (target.hidden) {
    search.value = '';
    look();
  }
  target.open = true;
};
addEventListener('hashchange', open);
open();

// A request as its form has it now.
const token = one('#token');
const built = form => {
  const { method } = form.dataset;
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of all('input[data-in]', form)) {
    if (input.value === '') continue;
    if (input.dataset.in === 'path') path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.dataset.in === 'header') headers[input.name] = input.value;
    else for (const value of 'many' in input.dataset ? input.value.split(/\s+/).filter(Boolean) : [input.value]) query.append(input.name, value);
  }
  const body = one('textarea', form);
  if (body) headers['Content-Type'] = 'application/json';
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  const target = query.size === 0 ? path : `${path}?${query}`;
  return { method, target, headers, body: body ? body.value : undefined };
};
const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
const command = ({ method, target, headers, body }) => {
  const parts = ['curl -i'];
  if (method !== 'GET' && !(method === 'POST' && body !== undefined)) parts.push(`-X ${method}`);
  for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (body !== undefined) parts.push(`-d ${quoted(body)}`);
  parts.push(quoted(location.origin + target));
  return parts.join(' ');
};
for (const form of all('form.try')) {
  const shown = one('pre.curl', form.parentElement);
  const show = () => { shown.textContent = command(built(form)); };
  form.addEventListener('input', show);
  token.addEventListener('input', show);
  show();
  one('.copy', form).addEventListener('click', async event => {
    const button = event.target;
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = 'Copied';
    } catch {
      // Without TLS a page may not write to the clipboard: then the text is selected for the keyboard.
      getSelection().selectAllChildren(shown);
      button.textContent = 'Selected: press Ctrl+C';
    }
    setTimeout(() => { button.textContent = 'Copy as curl'; }, 2000);
  });
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const { method, target, headers, body } = built(form);
    const answer = one('pre.answer', form.parentElement);
    const [status, send] = [one('.status', form), one('.send', form)];
    send.disabled = true;
    try {
      const response = await fetch(target, { method, headers, body, credentials: 'omit', signal: AbortSignal.timeout(15000) });
      status.textContent = `${response.status} ${response.statusText}`;
      status.className = `status ${response.ok ? 'good' : 'bad'}`;
      const told = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
      let content = await response.text();
      if (/json/.test(response.headers.get('content-type') || '')) {
        try { content = JSON.stringify(JSON.parse(content), null, 2); } catch { /* As it came. */ }
      }
      answer.textContent = content === '' ? told : `${told}\n\n${content}`;
    } catch (error) {
      status.textContent = 'no answer';
      status.className = 'status bad';
      answer.textContent = String(error);
    }
    answer.hidden = false;
    send.disabled = false;
  });
}
