/** `inboxd-client/node`: storage in a file. */
export { FileStorage, type FileStorageOptions } from "./storage/file.mjs";
