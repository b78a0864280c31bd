// Shows /openapi.json, and lets each operation be tried. No framework, nothing from elsewhere.

const methods = ['get', 'post', 'put', 'patch', 'delete'];
const byId = (id) => document.getElementById(id);

/** An element with properties and children; text never becomes markup. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What a `$ref` stands for. */
function resolved(api, schema) {
  let found = schema ?? {};
  for (let hops = 0; found.$ref && hops < 8; hops++) {
    found = found.$ref.slice(2).split('/').reduce((at, key) => at?.[key], api) ?? {};
  }
  return found;
}

/** A short name of a type. */
function typeName(api, schema) {
  if (schema?.$ref) return schema.$ref.split('/').pop();
  const found = schema ?? {};
  const choices = found.oneOf ?? found.anyOf;
  if (choices) return choices.map((one) => typeName(api, one)).join(' | ');
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(' | ');
  if (found.type === 'array') return `${typeName(api, found.items)}[]`;
  if (Array.isArray(found.type)) return found.type.join(' | ');
  return found.type ?? 'object';
}

/** An example value, to be edited. */
function example(api, schema, depth = 0) {
  const found = resolved(api, schema);
  if (found.example !== undefined) return found.example;
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  const choices = found.oneOf ?? found.anyOf;
  if (choices) return example(api, choices.find((one) => one.type !== 'null') ?? {}, depth);
  const allOf = found.allOf ?? [];
  const type = Array.isArray(found.type) ? found.type.find((one) => one !== 'null') : found.type;
  if (type === 'array') return [];
  if (type === 'object' || found.properties || allOf.length) {
    if (depth > 2) return {};
    const parts = [found, ...allOf.map((one) => resolved(api, one))];
    const required = parts.flatMap((part) => part.required ?? []);
    const wanted = ([key]) => required.includes(key) || required.length === 0;
    const all = parts.flatMap((part) => Object.entries(part.properties ?? {})).filter(wanted);
    return Object.fromEntries(all.map(([key, value]) => [key, example(api, value, depth + 1)]));
  }
  return { integer: found.minimum ?? 0, number: 0, boolean: false, string: '' }[type] ?? null;
}

function fieldsTable(api, schema) {
  const found = resolved(api, schema);
  const parts = [found, ...(found.allOf ?? []).map((one) => resolved(api, one))];
  const rows = parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).map(([name, property]) => {
      const text = property.description ?? resolved(api, property).description ?? '';
      const needed = part.required?.includes(name) ? ' (needed)' : '';
      const cells = [make('code', {}, name), typeName(api, property) + needed, text];
      return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
    }),
  );
  return rows.length ? make('table', {}, make('tbody', {}, ...rows)) : null;
}

function parameterRow(api, parameter) {
  const input = make('input', { ariaLabel: parameter.name });
  input.dataset.name = parameter.name;
  input.dataset.where = parameter.in;
  const cells = [make('code', {}, parameter.name), input, parameter.description ?? ''];
  return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
}

/** Sends what the form says, and shows the answer. */
async function send(form, path, method, output) {
  let url = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll('input[data-name]')) {
    const { name, where } = input.dataset;
    if (where === 'path') url = url.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value !== '' && where === 'query') query.set(name, input.value);
    else if (input.value !== '') headers[name] = input.value;
  }
  const token = byId('token').value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = form.querySelector('textarea');
  if (body) headers['Content-Type'] = body.dataset.type;
  const search = query.size ? `?${query}` : '';
  output.textContent = '…';
  try {
    const answer = await fetch(url + search, {
      method: method.toUpperCase(), headers, body: body?.value,
    });
    let text = await answer.text();
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Not everything is JSON.
    }
    const shown = ['location', 'etag', 'retry-after'].filter((name) => answer.headers.has(name));
    const lines = shown.map((name) => `${name}: ${answer.headers.get(name)}`);
    output.textContent = [`${answer.status} ${answer.statusText}`, ...lines, '', text].join('\n');
  } catch (error) {
    output.textContent = String(error);
  }
}

function tryIt(api, path, method, operation) {
  const parameters = operation.parameters ?? [];
  const rows = parameters.map((parameter) => parameterRow(api, parameter));
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  let body = null;
  if (type) {
    const value = type.endsWith('json') ? JSON.stringify(example(api, content.schema), null, 2) : '';
    body = make('textarea', { value, spellcheck: false, ariaLabel: `Body, ${type}` });
    body.dataset.type = type;
  }
  const output = make('pre', { hidden: true });
  const form = make(
    'form', {},
    rows.length ? make('table', {}, make('tbody', {}, ...rows)) : null,
    type ? make('p', {}, `Body: ${type}`) : null,
    body,
    make('button', {}, 'Send'),
    output,
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    output.hidden = false;
    void send(form, path, method, output);
  });
  return form;
}

function responsesTable(api, operation) {
  const rows = Object.entries(operation.responses ?? {}).map(([code, response]) => {
    const [content] = Object.values(response.content ?? {});
    const type = content ? typeName(api, content.schema) : '';
    const cells = [make('code', {}, code), response.description ?? '', type];
    return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
  });
  return make('table', {}, make('tbody', {}, ...rows));
}

function operationView(api, path, method, operation) {
  const schema = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
  const inside = make(
    'div', {},
    operation.description ? make('p', {}, operation.description) : null,
    make('h4', {}, 'Try it'), tryIt(api, path, method, operation),
    schema ? fieldsTable(api, schema) : null,
    make('h4', {}, 'Answers'), responsesTable(api, operation),
  );
  const title = make(
    'summary', {},
    make('span', { className: 'method' }, method.toUpperCase()),
    make('span', { className: 'path' }, path),
    make('span', {}, ` — ${operation.summary ?? ''}`),
  );
  const view = make('details', { id: operation.operationId }, title, inside);
  view.dataset.words = `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase();
  return view;
}

function schemasView(api) {
  const views = Object.entries(api.components?.schemas ?? {}).map(([name, schema]) =>
    make('details', { id: `schema-${name}` }, make('summary', {}, make('code', {}, name)),
      make('div', {}, schema.description ? make('p', {}, schema.description) : null,
        fieldsTable(api, schema) ?? make('p', {}, typeName(api, schema)))));
  return make('section', {}, make('h2', {}, 'Types'), ...views);
}

function show(api) {
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    methods.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const sections = (api.tags ?? []).map((tag) => {
    const own = operations.filter(({ operation }) => operation.tags?.includes(tag.name));
    const list = own.map(({ operation }) =>
      make('li', {}, make('a', { href: `#${operation.operationId}` }, operation.summary ?? operation.operationId)));
    byId('index').append(make('h2', {}, tag.name), make('ul', {}, ...list));
    const views = own.map(({ path, method, operation }) => operationView(api, path, method, operation));
    return make('section', {}, make('h2', {}, tag.name), make('p', {}, tag.description ?? ''), ...views);
  });
  byId('operations').replaceChildren(make('p', {}, api.info?.description ?? ''), ...sections, schemasView(api));
  openNamed();
}

function openNamed() {
  const named = byId(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

byId('find').addEventListener('input', (event) => {
  const words = event.target.value.toLowerCase();
  for (const view of document.querySelectorAll('details[data-words]')) {
    view.hidden = !view.dataset.words.includes(words);
  }
});
addEventListener('hashchange', openNamed);

try {
  show(await (await fetch('/openapi.json')).json());
} catch (error) {
  byId('operations').textContent = `The description cannot be read: ${error}`;
}
