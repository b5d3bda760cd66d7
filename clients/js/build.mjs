// Builds dist/ (dist/src, module by module, is for the tests); with `--serve` also the bundle that the service serves.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { name, version, license } = JSON.parse(await readFile(here("package.json"), "utf8"));
const served = (file) => here(`../../service/web/sdk/${file}`);
const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", absWorkingDir: here(".") };

/** Names by which parts of the client know one another: in no option, event, frame, stored record or public method. */
const inner = ["become", "cut", "due", "effects", "emitter", "flush", "follower", "gen", "given", "gone", "heard", "identities", "inbox",
  "link", "lost", "merge", "owed", "pauses", "polite", "proven", "pump", "reads", "refused", "repeat", "saved", "settle", "stored", "takers",
  "tell", "tick", "timing", "wait", "wanted", "watched", "welcomed", "when", "writer"];
const mangleProps = new RegExp(`^(${inner.join("|")})$`);

/** Errors are of one class, also in the second module. */
const shared = {
  name: "shared",
  setup: ({ onResolve }) => onResolve({ filter: /\/errors\.mjs$/ }, () => ({ path: "./inboxd.mjs", external: true })),
};

/** The modules that browsers get: the client, and what asks the service over HTTP. */
const bundles = {
  "inboxd.mjs": { entryPoints: ["src/index.mts"], mangleProps },
  "inboxd-http.mjs": { entryPoints: ["src/http.mts"], plugins: [shared] },
};

async function bundle(outfile) {
  const { outputFiles } = await build({ ...common, ...bundles[outfile], outfile, minify: true, write: false });
  const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2022, compress: { passes: 3 } }); // 2 % less
  return `/* ${name} ${version}, ${license}; built from clients/js of the inboxd sources */\n${code}\n`;
}

async function modules() {
  const sources = (await readdir(here("src"), { recursive: true })).filter((path) => path.endsWith(".mts"));
  const entryPoints = sources.map((path) => `src/${path}`);
  await build({ ...common, bundle: false, entryPoints, outdir: "dist/src", outExtension: { ".js": ".mjs" } });
  const parts = { entryPoints: ["src/node.mts", "src/react.mts"], external: ["react"], platform: "node" };
  await build({ ...common, ...parts, outdir: "dist", outExtension: { ".js": ".mjs" } });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await modules();
  for (const file of Object.keys(bundles)) {
    const text = await bundle(file);
    await writeFile(here(`dist/${file}`), text);
    if (process.argv.includes("--serve")) await writeFile(served(file), text);
  }
}
