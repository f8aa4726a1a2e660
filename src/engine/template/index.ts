/**
 * Stored VM states: find, build once, verify, quarantine and remove them. It owns the folder `templates/`. How a machine
 * is booted and stored is handed in; this room starts no VM and reads no image.
 */
export { type TemplateInputs, templateKey } from "./key.ts";
export { type Manifest, templateFiles, templateInputs, UPPER_FILE } from "./manifest.ts";
export {
  type EnsureOptions,
  type Template,
  type TemplateBuilder,
  type TemplateListener,
  TemplateStore,
} from "./store.ts";
