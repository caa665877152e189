-- The audit log: a line per act. `ring` names the lines of one actor and kind, `what` is the part that equal acts
-- share, and `moment` orders the lines: nanoseconds since 1970.
CREATE TABLE act (
    place   bigint NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    moment  bigint NOT NULL,
    ring    text   NOT NULL,
    time    text   NOT NULL,
    what    text   NOT NULL,
    seconds double precision NOT NULL,
    count   integer NOT NULL DEFAULT 1,
    last    text   NOT NULL
);
CREATE INDEX act_moment ON act (moment, place);
CREATE INDEX act_ring ON act (ring, place);
CREATE INDEX act_hour ON act (ring, (left(time, 13)));

-- The number of a slice's newest claim. Each claim takes the next one, and hosts refuse batches of older claims.
CREATE TABLE fence (
    lock   text   NOT NULL PRIMARY KEY,
    number bigint NOT NULL
);
