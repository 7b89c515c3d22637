-- What scripts/migrate --distribute citus calls, in a database without Citus: the names that it
-- asks, and functions that refuse what Citus refuses (src/backend/distributed/commands:
-- create_distributed_table.c, foreign_constraint.c, trigger.c).

CREATE TABLE pg_dist_node (groupid integer, nodename text, nodeport integer);

CREATE TABLE made (
    table_name regclass PRIMARY KEY,
    citus_table_type text NOT NULL,
    distribution_column text NOT NULL,
    colocation_id integer NOT NULL
);

CREATE VIEW citus_tables AS
    SELECT table_name, citus_table_type, distribution_column, colocation_id FROM made;

-- Citus makes a local table that is tied to reference tables one of its own by itself.
CREATE FUNCTION kind_of(one regclass) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce((SELECT citus_table_type FROM made WHERE table_name = one), 'local') $$;

CREATE FUNCTION refuse_triggers(one regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = one AND NOT tgisinternal) THEN
        RAISE 'cannot distribute relation "%" because it has triggers', one;
    END IF;
END
$$;

CREATE FUNCTION create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tie record;
BEGIN
    PERFORM refuse_triggers(table_name);
    FOR tie IN
        SELECT * FROM pg_constraint
        WHERE contype = 'f' AND conrelid = table_name AND confrelid <> table_name
    LOOP
        IF kind_of(tie.confrelid) = 'distributed' THEN
            RAISE 'a reference table refers to no distributed one: %', tie.conname;
        ELSIF kind_of(tie.confrelid) = 'local' AND tie.confdeltype NOT IN ('a', 'r') THEN
            RAISE 'foreign keys from reference tables to local tables can only be defined with'
                ' NO ACTION or RESTRICT behaviors: %', tie.conname;
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = table_name AND attidentity <> '' AND atttypid <> 'bigint'::regtype)
    THEN
        RAISE 'identity columns must be of type bigint: %', table_name;
    END IF;
    INSERT INTO made VALUES (table_name, 'reference', '<none>', 1);
END
$$;

CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, colocate_with text DEFAULT 'default'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    place smallint;
    kind oid;
    flaw record;
    colocation integer := 2 + (SELECT count(*) FROM made);
BEGIN
    SELECT attnum, atttypid INTO STRICT place, kind FROM pg_attribute
        WHERE attrelid = table_name AND attname = distribution_column AND attgenerated = '';
    PERFORM refuse_triggers(table_name);
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = table_name) THEN
        RAISE 'cannot distribute relation "%" which is partition of another', table_name;
    END IF;
    FOR flaw IN
        SELECT indexrelid::regclass AS name FROM pg_index
        WHERE indrelid = table_name AND (indisunique OR indisexclusion)
            AND NOT place = ANY (indkey)
    LOOP
        RAISE 'cannot create constraint on "%": % lacks the distribution column', table_name,
            flaw.name;
    END LOOP;
    IF colocate_with <> 'none' THEN
        SELECT colocation_id INTO STRICT colocation FROM made
            WHERE made.table_name = colocate_with::regclass
                AND kind = (SELECT atttypid FROM pg_attribute
                            WHERE attrelid = colocate_with::regclass
                                AND attname = made.distribution_column);
    END IF;
    FOR flaw IN
        SELECT conname AS name FROM pg_constraint
        WHERE contype = 'f' AND conrelid = table_name AND NOT (
            kind_of(confrelid) = 'reference'
            OR array_position(conkey, place) IS NOT NULL
            -- The column stands in the same place on both sides, of tables in one group.
            AND confkey[array_position(conkey, place)] = (
                SELECT attnum FROM pg_attribute JOIN made ON made.table_name = attrelid
                WHERE attrelid = confrelid AND attname = made.distribution_column
                    AND colocation_id = colocation)
            AND confdeltype NOT IN ('n', 'd') AND confupdtype IN ('a', 'r'))
    LOOP
        RAISE 'cannot create foreign key constraint: %', flaw.name;
    END LOOP;
    INSERT INTO made VALUES (table_name, 'distributed', distribution_column, colocation);
    -- With a partitioned table go its partitions.
    INSERT INTO made
        SELECT inhrelid, 'distributed', distribution_column, colocation FROM pg_inherits
        WHERE inhparent = table_name;
END
$$;
