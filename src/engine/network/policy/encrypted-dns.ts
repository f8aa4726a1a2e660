/**
 * Resolvers that are asked over TLS, HTTPS or QUIC, where the gateway cannot read the question. The list holds the defaults of
 * browsers and operating systems and the large public ones; it cannot be complete, anybody may run one. Who must be sure names
 * what is allowed instead.
 */

/** Port of DNS over TLS (RFC 7858) and over QUIC (RFC 9250). */
export const ENCRYPTED_DNS_PORT = 853;

/** As patterns of rules. */
export const ENCRYPTED_DNS_NAMES: readonly string[] = [
  "dns.google",
  "dns64.dns.google",
  "8888.google",
  "cloudflare-dns.com",
  "*.cloudflare-dns.com",
  "one.one.one.one",
  "1dot1dot1dot1.cloudflare-dns.com",
  "*.cloudflare-gateway.com",
  "dns.quad9.net",
  "*.quad9.net",
  "doh.opendns.com",
  "*.opendns.com",
  "dns.umbrella.com",
  "dns.nextdns.io",
  "*.dns.nextdns.io",
  "doh.cleanbrowsing.org",
  "*.cleanbrowsing.org",
  "dns.adguard.com",
  "dns.adguard-dns.com",
  "*.adguard-dns.com",
  "doh.dns.sb",
  "dns.sb",
  "dns.alidns.com",
  "doh.pub",
  "dot.pub",
  "dns.pub",
  "doh.360.cn",
  "dns.mullvad.net",
  "*.dns.mullvad.net",
  "dns0.eu",
  "*.dns0.eu",
  "*.joindns4.eu",
  "doh.xfinity.com",
  "doh.applied-privacy.net",
  "*.controld.com",
  "odoh.cloudflare-dns.com",
  "mask.icloud.com",
  "mask-h2.icloud.com",
  "doh.libredns.gr",
  "dns.switch.ch",
  "public.dns.iij.jp",
  "firefox.dns.nextdns.io",
  "wikimedia-dns.org",
];

/** Firefox turns its own encrypted DNS off where this name does not exist. */
export const CANARY_NAME = "use-application-dns.net";

/** Canonical addresses whose port 443 answers DNS over HTTPS. */
export const ENCRYPTED_DNS_ADDRESSES: ReadonlySet<string> = new Set([
  "1.1.1.1",
  "1.0.0.1",
  "1.1.1.2",
  "1.0.0.2",
  "1.1.1.3",
  "1.0.0.3",
  "2606:4700:4700::1111",
  "2606:4700:4700::1001",
  "8.8.8.8",
  "8.8.4.4",
  "2001:4860:4860::8888",
  "2001:4860:4860::8844",
  "9.9.9.9",
  "149.112.112.112",
  "9.9.9.10",
  "9.9.9.11",
  "2620:fe::fe",
  "2620:fe::9",
  "208.67.222.222",
  "208.67.220.220",
  "94.140.14.14",
  "94.140.15.15",
  "223.5.5.5",
  "223.6.6.6",
]);
