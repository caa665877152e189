-- Realms: a VNC port belongs to its worker as well, because realms may share workers. Slices had no realm before.
CREATE TEMPORARY TABLE door ON COMMIT DROP AS
    SELECT piece.key AS slice_id, 'port ' || (vm ->> 'vnc_port') || ' on ' || (vm ->> 'worker_ip') AS thing
    FROM piece, jsonb_array_elements(
        coalesce(value -> 'vms', '[]') || coalesce(value -> 'before' -> 'vms', '[]')
    ) AS vm
    WHERE section = 'slices' AND key <> '' AND vm ->> 'worker_ip' <> 'nowhere'
    GROUP BY 1, 2;
INSERT INTO holding (thing, slice_id) SELECT thing, slice_id FROM door ON CONFLICT DO NOTHING;
UPDATE piece SET holdings = holdings || jsonb_build_object(
    'realm', '', 'doors', coalesce((SELECT jsonb_agg(thing) FROM door WHERE door.slice_id = piece.key), '[]')
) WHERE holdings IS NOT NULL;
DROP TABLE door;
