CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_digest bytea NOT NULL UNIQUE
);
CREATE TABLE links (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    slug text NOT NULL UNIQUE,
    url text NOT NULL,
    title text,
    expires_at timestamptz,
    clicks bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX links_of_account ON links (account_id, id DESC);
CREATE TABLE clicks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    link_id bigint NOT NULL,
    clicked_at timestamptz NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL,
    referrer text NOT NULL,
    language text NOT NULL,
    query text NOT NULL
);
CREATE INDEX clicks_of_link ON clicks (link_id, clicked_at);
