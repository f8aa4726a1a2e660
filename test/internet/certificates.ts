import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Certificates {
  /** Files in PEM. Whoever trusts `authority` takes the server for all of its names. */
  authority: string;
  certificate: string;
  key: string;
}

/** Makes an authority and a certificate for these names and addresses in a folder, with the host's openssl. */
export async function makeCertificates(
  folder: string,
  names: readonly string[],
  addresses: readonly string[],
): Promise<Certificates> {
  const file = (name: string) => join(folder, name);
  const key = (name: string) => [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    file(name),
  ];
  await run("openssl", [
    ...["req", "-x509", "-days", "2", "-subj", "/CN=Authority of a test", ...key("authority.key")],
    ...["-addext", "keyUsage=critical,keyCertSign", "-out", file("authority.pem")],
  ]);
  const alternatives = [
    ...names.map((name) => `DNS:${name}`),
    ...addresses.map((address) => `IP:${address}`),
  ];
  await run("openssl", [
    ...["req", "-x509", "-days", "2", "-subj", "/CN=Server of a test", ...key("server.key")],
    ...[
      "-addext",
      `subjectAltName=${alternatives.join(",")}`,
      "-addext",
      "basicConstraints=critical,CA:FALSE",
    ],
    ...["-CA", file("authority.pem"), "-CAkey", file("authority.key"), "-out", file("server.pem")],
  ]);
  return { authority: file("authority.pem"), certificate: file("server.pem"), key: file("server.key") };
}
