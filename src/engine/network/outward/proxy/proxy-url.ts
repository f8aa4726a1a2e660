import { SandboxError } from "../../../../contract/errors.ts";

/** Where the user's proxy is and who asks it. */
export interface ProxyAddress {
  kind: "socks5" | "http";
  host: string;
  port: number;
  /** Without one, `user` is empty. */
  login: ProxyLogin;
}

export interface ProxyLogin {
  user: string;
  password: string;
}

const KINDS: Record<string, { kind: ProxyAddress["kind"]; port: number }> = {
  "socks5:": { kind: "socks5", port: 1080 },
  "http:": { kind: "http", port: 80 },
};

/** `socks5://[user:password@]host[:1080]` or `http://[user:password@]host[:80]`; `invalid_argument` for anything else. */
export function parseProxyUrl(url: string): ProxyAddress {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const known = parsed && KINDS[parsed.protocol];
  const login = parsed && loginOf(parsed);
  if (parsed === undefined || known === undefined || login === undefined || parsed.hostname === "")
    throw new SandboxError("invalid_argument", "the network's proxy is no URL of a SOCKS5 or HTTP proxy", {
      hint: "write socks5://HOST:PORT or http://HOST:PORT",
    });
  return {
    kind: known.kind,
    host: parsed.hostname.replace(/^\[|\]$/g, ""),
    port: Number(parsed.port) || known.port,
    login,
  };
}

/** Undefined where a `%` is not followed by a byte. */
function loginOf({ username, password }: URL): ProxyLogin | undefined {
  try {
    return { user: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    return undefined;
  }
}
