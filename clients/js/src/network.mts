import type { Network } from "./options.mjs";

const page: any = globalThis;

/** Reports changes of the network, and that the page came back into sight. Answers how to stop, and how it is now. */
export function watch(
  network: Network | undefined,
  changed: (online: boolean) => void,
  visible: () => void,
): () => void {
  const watched: [any, string, () => void][] = [];
  const on = (target: any, type: string, listener: () => void): void => {
    target?.addEventListener?.(type, listener);
    watched.push([target, type, listener]);
  };
  const source = network ?? page;
  on(source, "online", () => changed(true));
  on(source, "offline", () => changed(false));
  if (network) on(network, "visible", visible);
  else on(page.document, "visibilitychange", () => page.document.visibilityState === "visible" && visible());
  return () => watched.forEach(([target, type, listener]) => target?.removeEventListener?.(type, listener));
}

export const onLine = (network: Network | undefined): boolean => (network ?? page.navigator)?.onLine !== false;
