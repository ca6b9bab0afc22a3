// Writes the licences of all packages that are in the bundle: node licences.js FILE
// Of a package that comes without a licence file, `licences/` has the text that its repository has.
const { existsSync, readdirSync, readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const lock = JSON.parse(readFileSync(join(__dirname, "package-lock.json"), "utf8"));
const LEFT_OUT = /^node_modules\/(@types|@zarrita|numcodecs|zarrita|@?esbuild)/; // not in the bundle
const places = Object.keys(lock.packages).filter((at) => at && !LEFT_OUT.test(at)).sort();
const texts = places.map((place) => {
  const folder = join(__dirname, place);
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
  const path = file ? join(folder, file) : join(__dirname, "licences", `${name}.txt`);
  if (!existsSync(path)) throw new Error(`${name} has no licence file: put one at ${path}`);
  const text = readFileSync(path, "utf8").trim();
  return `${name} ${version} (${license})\n\n${text}\n`;
});
writeFileSync(process.argv[2], texts.join(`\n${"-".repeat(80)}\n\n`));
