/**
 * Folders of the host in sandboxes. This room owns the host's end of such a mount: it takes the requests of a guest's
 * kernel as hostile, does them below one folder of the host and nowhere else (`inside.ts`), and answers. It never follows a
 * link, makes no device, and gives nothing another owner or more rights than the daemon has. Which folders may be mounted
 * is decided elsewhere.
 */
export { Folder, type FolderOptions } from "./folder.ts";
export { FolderSession } from "./folder-session.ts";
