export interface Credentials {
  username: string;
  password: string;
  /** In place of a password: what a token server takes for new tokens. */
  identityToken?: string | undefined;
}

export interface CredentialSource {
  /** Credentials for a registry as references name it (`docker.io`, `localhost:5000`); undefined to come as nobody. */
  find(registry: string, signal?: AbortSignal): Promise<Credentials | undefined>;
}
