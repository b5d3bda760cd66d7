// Builds dist/ (dist/src, module by module, is for the tests); with `--serve` also the bundle that the service serves.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { name, version, license } = JSON.parse(await readFile(here("package.json"), "utf8"));
const served = here("../../service/web/sdk/inboxd.mjs");
const common = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", absWorkingDir: here(".") };

/** Names by which parts of the client know one another: in no option, event, frame, stored record or public method. */
const inner = ["become", "cut", "due", "effects", "emitter", "flush", "follower", "gen", "given", "gone", "heard", "inbox", "link", "lost", "merge",
  "owed", "pauses", "polite", "proven", "pump", "refused", "saved", "stored", "takers", "tell", "tick", "timing", "wait", "wanted", "welcomed",
  "when", "writer"];
const mangleProps = new RegExp(`^(${inner.join("|")})$`);

/** The module that browsers get. */
export async function bundle() {
  const { outputFiles } = await build({ ...common, entryPoints: ["src/index.mts"], outfile: "inboxd.mjs", minify: true, mangleProps, write: false });
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
  const text = await bundle();
  await modules();
  await writeFile(here("dist/inboxd.mjs"), text);
  if (process.argv.includes("--serve")) await writeFile(served, text);
}
