-- What each worker promised to the VMs of a slice; memory and disk in GiB. A session asks for the sums of few workers.
CREATE TABLE promise (
    slice_id text    NOT NULL,
    realm    text    NOT NULL,
    worker   text    NOT NULL,
    cores    integer NOT NULL,
    ram_gb   double precision NOT NULL,
    disk_gb  double precision NOT NULL,
    PRIMARY KEY (worker, slice_id)
);
CREATE INDEX promise_slice ON promise (slice_id);
CREATE INDEX promise_place ON promise (realm, worker);
INSERT INTO promise (slice_id, realm, worker, cores, ram_gb, disk_gb)
SELECT key, coalesce(holdings ->> 'realm', ''), worker, (size ->> 0)::integer, (size ->> 1)::double precision, (size ->> 2)::double precision
FROM piece, jsonb_each(holdings -> 'promised') AS each (worker, size)
WHERE holdings IS NOT NULL;
