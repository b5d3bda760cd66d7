import { readFileSync, rmSync, writeFileSync } from "node:fs";

const mine = new Set<string>();

/** Takes the file, or says who has it. A process that died holds nothing. Answers how to let go. */
export function lock(path: string): () => void {
  for (let tries = 0; ; tries++) {
    try {
      writeFileSync(path, name(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    let holder = read(path);
    if (!holder) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50); // its name is being written
    holder ||= read(path); // still none: it died before that
    const pid = parseInt(holder);
    const alive = holder !== "" && (pid === process.pid ? mine.has(path) : name(pid) === holder);
    if (alive || tries > 3) throw new Error(`process ${pid} uses this storage: ${path}`);
    rmSync(path, { force: true });
  }
  mine.add(path);
  return () => {
    if (mine.delete(path)) rmSync(path, { force: true });
  };
}

/** The process's number, and when it began where the system tells: numbers come again. Empty: there is none. */
function name(pid: number): string {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return "";
  }
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")")).split(" ");
  return fields[1] === "Z" ? "" : `${pid} ${fields[20] ?? ""}`; // Z: killed, and its parent has not looked yet
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
