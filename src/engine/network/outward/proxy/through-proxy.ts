import { type Dial, dialHost } from "../dial.ts";
import type { OpenDatagrams } from "../remote-datagrams.ts";
import { httpConnect } from "./http-connect.ts";
import { ProxyAnswers } from "./proxy-answers.ts";
import { parseProxyUrl } from "./proxy-url.ts";
import { askSocks5, SOCKS5_CONNECT, socks5Target } from "./socks5.ts";
import { datagramsThroughSocks5 } from "./socks5-datagrams.ts";

/**
 * The ways out through a proxy that the user's settings name: SOCKS5 or HTTP CONNECT. The decision is made before, about the address.
 * That address is what the proxy is given, unless the user lets it look names up. What a proxy cannot carry is refused: nothing goes
 * round it.
 */

export interface ThroughProxy {
  dial: Dial;
  openDatagrams: OpenDatagrams;
}

/** `names`: the proxy is given the name in place of the address where it is known. Default: false. @throws what `parseProxyUrl` does */
export function throughProxy(
  url: string,
  { names = false }: { names?: boolean | undefined } = {},
): ThroughProxy {
  const proxy = parseProxyUrl(url);
  const openDatagrams = proxy.kind === "socks5" ? datagramsThroughSocks5(proxy) : refuseDatagrams;
  const dial: Dial = async (address, port, options) => {
    const socket = await dialHost(proxy.host, proxy.port, options);
    const answers = new ProxyAnswers(socket, options);
    try {
      const target = { address, name: options.name, port };
      if (proxy.kind === "http") await httpConnect(socket, answers, target, proxy.login);
      else await askSocks5(socket, answers, SOCKS5_CONNECT, socks5Target(target), proxy.login);
      answers.release();
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
  if (names) return { dial, openDatagrams };
  return {
    dial: (address, port, options) => dial(address, port, { ...options, name: undefined }),
    openDatagrams: (address, port, hears, options) =>
      openDatagrams(address, port, hears, { ...options, name: undefined }),
  };
}

const refuseDatagrams: OpenDatagrams = async () => {
  throw Object.assign(new Error("an HTTP proxy carries no datagrams"), { code: "EOPNOTSUPP" });
};
