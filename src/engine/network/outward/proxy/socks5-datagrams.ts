import { createSocket } from "node:dgram";
import { once } from "node:events";
import { IpAddress } from "../../../../contract/ip-address.ts";
import { dialHost } from "../dial.ts";
import type { OpenDatagrams } from "../remote-datagrams.ts";
import { ProxyAnswers } from "./proxy-answers.ts";
import type { ProxyAddress } from "./proxy-url.ts";
import { askSocks5, parseSocks5Target, SOCKS5_UDP_ASSOCIATE, socks5Target } from "./socks5.ts";

/**
 * Datagrams through a SOCKS5 proxy (RFC 1928, 7): each goes to the proxy's relay behind a head that says whom it is for. The relay
 * works for as long as the connection that asked for it stands, so one flow has one connection. Pieces (FRAG) are dropped, as the
 * RFC lets us; so is what comes from another than the flow's far side.
 */

const ANY = IpAddress.parse("0.0.0.0")!;
const UNSPECIFIED: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);
/** Two bytes that are zero and the number of the piece. */
const HEAD = 3;

export function datagramsThroughSocks5({ host, port: proxyPort, login }: ProxyAddress): OpenDatagrams {
  return async (address, port, hears, options) => {
    const control = await dialHost(host, proxyPort, options);
    try {
      const answers = new ProxyAnswers(control, options);
      // Our own address and port are not known yet, and the proxy sees them.
      const us = socks5Target({ address: ANY, port: 0 });
      const relay = await askSocks5(control, answers, SOCKS5_UDP_ASSOCIATE, us, login);
      const named = relay.address?.text;
      const at = named === undefined || UNSPECIFIED.has(named) ? control.remoteAddress! : named;
      const socket = createSocket(at.includes(":") ? "udp6" : "udp4");
      // Refused by the relay: the connection says when it is gone.
      socket.on("error", (error) => hears.onFailure(error));
      socket.connect(relay.port, at);
      await once(socket, "connect", { signal: options.signal }).catch((error) => {
        socket.close();
        throw error;
      });
      answers.release();
      let closed = false;
      const close = () => {
        if (closed) return;
        closed = true;
        control.destroy();
        socket.close();
      };
      control.on("error", () => {});
      const over = () => {
        if (closed) return;
        close();
        hears.onOver(Object.assign(new Error("the proxy ended the flow"), { code: "ECONNRESET" }));
      };
      control.once("end", over).once("close", over);
      // It has nothing more to say, but its end must be seen.
      control.resume();
      const head = Buffer.concat([Buffer.alloc(HEAD), socks5Target({ address, name: options.name, port })]);
      socket.on("message", (datagram) => {
        const from = datagram[2] === 0 ? parseSocks5Target(datagram.subarray(HEAD)) : undefined;
        if (from === undefined || from.port !== port) return;
        // Where the name went out, the address is the proxy's to choose.
        if (options.name === undefined && from.address?.equals(address) !== true) return;
        hears.onDatagram(datagram.subarray(HEAD + from.length));
      });
      return { send: (payload) => void (closed || socket.send([head, payload], () => {})), close };
    } catch (error) {
      control.destroy();
      throw error;
    }
  };
}
