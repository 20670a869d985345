-- What a namespace must remember besides its tasks: small values under a kind and a key, each written whole.
create table note (
    namespace_id integer not null,
    kind text not null,
    key text not null,
    value blob not null,
    primary key (namespace_id, kind, key)
) strict, without rowid;
