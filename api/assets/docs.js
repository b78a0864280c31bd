// @ts-check
// Shows /openapi.json, and lets each operation be tried. No framework, nothing from elsewhere.

/** The document and its parts, as JSON: what is not there is looked for everywhere. @typedef {any} Json */

const methods = ['get', 'post', 'put', 'patch', 'delete'];

/** An element of the page. @param {string} id */
function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no #${id}.`);
  return found;
}

/** A field of the page. @param {string} id */
function field(id) {
  const found = byId(id);
  if (!(found instanceof HTMLInputElement)) throw new Error(`#${id} is no field.`);
  return found;
}

/**
 * An element with properties and children; text never becomes markup.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name @param {Partial<HTMLElementTagNameMap[Name]>} properties @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** What a `$ref` stands for. @param {Json} api @param {Json} schema @returns {Json} */
function resolved(api, schema) {
  let found = schema ?? {};
  for (let hops = 0; found.$ref && hops < 8; hops++) {
    found = found.$ref.slice(2).split('/').reduce((/** @type {Json} */ at, /** @type {string} */ key) => at?.[key], api) ?? {};
  }
  return found;
}

/** A short name of a type. @param {Json} api @param {Json} schema @returns {string} */
function typeName(api, schema) {
  if (schema?.$ref) return schema.$ref.split('/').pop();
  const found = schema ?? {};
  const choices = found.oneOf ?? found.anyOf;
  if (choices) return choices.map((/** @type {Json} */ one) => typeName(api, one)).join(' | ');
  if (found.enum) return found.enum.map((/** @type {Json} */ one) => JSON.stringify(one)).join(' | ');
  if (found.type === 'array') return `${typeName(api, found.items)}[]`;
  if (Array.isArray(found.type)) return found.type.join(' | ');
  return found.type ?? 'object';
}

/** An example value, to be edited. @param {Json} api @param {Json} schema @returns {Json} */
function example(api, schema, depth = 0) {
  const found = resolved(api, schema);
  if (found.example !== undefined) return found.example;
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  const choices = found.oneOf ?? found.anyOf;
  if (choices) return example(api, choices.find((/** @type {Json} */ one) => one.type !== 'null') ?? {}, depth);
  const allOf = found.allOf ?? [];
  const type = Array.isArray(found.type) ? found.type.find((/** @type {string} */ one) => one !== 'null') : found.type;
  if (type === 'array') return [];
  if (type === 'object' || found.properties || allOf.length) {
    if (depth > 2) return {};
    const parts = [found, ...allOf.map((/** @type {Json} */ one) => resolved(api, one))];
    const required = parts.flatMap((part) => part.required ?? []);
    const wanted = (/** @type {[string, Json]} */ [key]) => required.includes(key) || required.length === 0;
    const all = parts.flatMap((part) => Object.entries(part.properties ?? {})).filter(wanted);
    return Object.fromEntries(all.map(([key, value]) => [key, example(api, value, depth + 1)]));
  }
  /** @type {Record<string, Json>} */
  const plain = { integer: found.minimum ?? 0, number: 0, boolean: false, string: '' };
  return plain[type] ?? null;
}

/** @param {Json} api @param {Json} schema */
function fieldsTable(api, schema) {
  const found = resolved(api, schema);
  const parts = [found, ...(found.allOf ?? []).map((/** @type {Json} */ one) => resolved(api, one))];
  const rows = parts.flatMap((part) =>
    Object.entries(part.properties ?? {}).map((/** @type {[string, Json]} */ [name, property]) => {
      const text = property.description ?? resolved(api, property).description ?? '';
      const needed = part.required?.includes(name) ? ' (needed)' : '';
      const cells = [make('code', {}, name), typeName(api, property) + needed, text];
      return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
    }),
  );
  return rows.length ? make('table', {}, make('tbody', {}, ...rows)) : null;
}

/** @param {Json} parameter */
function parameterRow(parameter) {
  const input = make('input', { ariaLabel: parameter.name });
  input.dataset.name = parameter.name;
  input.dataset.where = parameter.in;
  const cells = [make('code', {}, parameter.name), input, parameter.description ?? ''];
  return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
}

/**
 * Sends what the form says, and shows the answer.
 * @param {HTMLFormElement} form @param {string} path @param {string} method @param {HTMLElement} output
 */
async function send(form, path, method, output) {
  let url = path;
  const query = new URLSearchParams();
  /** @type {Record<string, string>} */
  const headers = {};
  for (const input of form.querySelectorAll('input')) {
    const { name = '', where } = input.dataset;
    if (where === 'path') url = url.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value !== '' && where === 'query') query.set(name, input.value);
    else if (input.value !== '') headers[name] = input.value;
  }
  const token = field('token').value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = form.querySelector('textarea');
  if (body) headers['Content-Type'] = body.dataset.type ?? '';
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

/** @param {Json} api @param {string} path @param {string} method @param {Json} operation */
function tryIt(api, path, method, operation) {
  const parameters = operation.parameters ?? [];
  const rows = parameters.map(parameterRow);
  /** @type {[string, Json] | []} */
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

/** @param {Json} api @param {Json} operation */
function responsesTable(api, operation) {
  const rows = Object.entries(operation.responses ?? {}).map((/** @type {[string, Json]} */ [code, response]) => {
    /** @type {Json[]} */
    const [content] = Object.values(response.content ?? {});
    const type = content ? typeName(api, content.schema) : '';
    const cells = [make('code', {}, code), response.description ?? '', type];
    return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
  });
  return make('table', {}, make('tbody', {}, ...rows));
}

/** @param {Json} api @param {string} path @param {string} method @param {Json} operation */
function operationView(api, path, method, operation) {
  /** @type {Json[]} */
  const [content] = Object.values(operation.requestBody?.content ?? {});
  const schema = content?.schema;
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

/** @param {Json} api */
function schemasView(api) {
  const views = Object.entries(api.components?.schemas ?? {}).map((/** @type {[string, Json]} */ [name, schema]) =>
    make('details', { id: `schema-${name}` }, make('summary', {}, make('code', {}, name)),
      make('div', {}, schema.description ? make('p', {}, schema.description) : null,
        fieldsTable(api, schema) ?? make('p', {}, typeName(api, schema)))));
  return make('section', {}, make('h2', {}, 'Types'), ...views);
}

/** @param {Json} api */
function show(api) {
  const operations = Object.entries(api.paths).flatMap((/** @type {[string, Json]} */ [path, item]) =>
    methods.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method] })));
  const sections = (api.tags ?? []).map((/** @type {Json} */ tag) => {
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
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

field('find').addEventListener('input', () => {
  const words = field('find').value.toLowerCase();
  for (const view of document.querySelectorAll('details')) {
    if (view.dataset.words !== undefined) view.hidden = !view.dataset.words.includes(words);
  }
});
addEventListener('hashchange', openNamed);

try {
  show(await (await fetch('/openapi.json')).json());
} catch (error) {
  byId('operations').textContent = `The description cannot be read: ${error}`;
}
