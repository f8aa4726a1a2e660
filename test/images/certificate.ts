import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./tools.ts";

export interface Certificate {
  /** Path of the authority's own certificate: what a client has to trust. */
  ca: string;
  certificate: string;
  key: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];

/** An authority that nobody knows, and a certificate of its for this machine's loopback, in `folder`. */
export async function makeCertificate(folder: string): Promise<Certificate> {
  const at = (name: string) => join(folder, name);
  const about = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n";
  await writeFile(at("server.ext"), about);
  const authority = ["-x509", "-subj", "/CN=Authority of a test", "-days", "2"];
  await run("openssl", ["req", ...authority, ...KEY, "-keyout", at("ca.key"), "-out", at("ca.crt")]);
  const request = ["-subj", "/CN=Registry of a test", ...KEY];
  await run("openssl", ["req", ...request, "-keyout", at("server.key"), "-out", at("server.csr")]);
  const issuer = ["-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2"];
  const paths = ["-in", at("server.csr"), "-out", at("server.crt"), "-extfile", at("server.ext")];
  await run("openssl", ["x509", "-req", ...issuer, ...paths]);
  return { ca: at("ca.crt"), certificate: at("server.crt"), key: at("server.key") };
}
