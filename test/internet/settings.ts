/** What the servers of the test's internet are told, as JSON, on their command line. */
export interface ServerSettings {
  /** Its files are what the web server gives; `git/` in it has repositories. */
  folder: string;
  /** PEM files. */
  certificate: string;
  key: string;
  /** On these is UDP served. */
  addresses: readonly string[];
  /** What the name server knows, in the words of zone files: `a.example 60 A 192.0.2.1`. */
  zone: readonly string[];
}
