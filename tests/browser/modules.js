// Loads packages as Node.js has them (CommonJS), from /packages.
"use strict";

const loaded = new Map();

function text(address) {
  const request = new XMLHttpRequest();
  request.open("GET", address, false);
  request.send();
  if (request.status !== 200) throw new Error(`${address}: ${request.status}`);
  return request.responseText;
}

// The file of a package that is loaded where its name alone is asked for.
function main(folder) {
  const said = JSON.parse(text(`${folder}/package.json`));
  const file = new URL(typeof said.browser === "string" ? said.browser : said.main, `http://-${folder}/`).pathname;
  return file.endsWith("/") ? `${file}index.js` : file;
}

function find(name, folder) {
  const file = name.startsWith(".") ? new URL(name, `http://-${folder}/`).pathname : main(`/packages/${name}`);
  return /\.js(on)?$/.test(file) ? file : `${file}.js`;
}

function load(name, folder = "") {
  const file = find(name, folder);
  if (!loaded.has(file)) {
    const module = { exports: {} };
    loaded.set(file, module);
    if (file.endsWith(".json")) module.exports = JSON.parse(text(file));
    else new Function("module", "exports", "require", `${text(file)}\n//# sourceURL=${file}`)(
      module, module.exports, (other) => load(other, file.slice(0, file.lastIndexOf("/"))));
  }
  return loaded.get(file).exports;
}
