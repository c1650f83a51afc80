#!/bin/sh
# Creates the role `postrider`, which owns its database and is no superuser. A new volume runs it once by itself. On a volume
# that was made with `postrider` as its superuser, run it by hand (docs/operations.md): that superuser becomes `postgres`,
# and the tables the new role's. It may run again at any time, as after a change of a password.
#
# Reads POSTGRES_PASSWORD (of the superuser) and POSTRIDER_DATABASE_PASSWORD (of the role) from the environment.
set -eu

sql() {
  psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 "$@"
}

# On an old volume the first superuser is `postrider`, whose rights can't be taken. Nobody can rename the role that it is
# logged in as: hence another one.
if ! sql -U postgres -d postgres -c "SELECT" >/dev/null 2>&1; then
  sql -U postrider -d postgres -c "CREATE ROLE postrider_upgrade LOGIN SUPERUSER"
  sql -U postrider_upgrade -d postgres -c "ALTER ROLE postrider RENAME TO postgres"
fi

sql -U postgres -d postgres <<'SQL'
SET client_min_messages = warning;
DROP ROLE IF EXISTS postrider_upgrade;
\getenv superuser_password POSTGRES_PASSWORD
\getenv password POSTRIDER_DATABASE_PASSWORD
SELECT 'CREATE ROLE postrider' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'postrider') \gexec
ALTER ROLE postgres PASSWORD :'superuser_password';
ALTER ROLE postrider LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
SELECT 'CREATE DATABASE postrider' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'postrider') \gexec
ALTER DATABASE postrider OWNER TO postrider;
-- Nobody else connects to it.
REVOKE ALL ON DATABASE postrider FROM PUBLIC;
SQL

# What an identity or a serial column has goes with its table.
sql -U postgres -d postrider <<'SQL'
SELECT format('ALTER TABLE %I.%I OWNER TO postrider', n.nspname, c.relname)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_roles AS r ON r.oid = c.relowner
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND r.rolname <> 'postrider'
ORDER BY c.relkind = 'v', c.oid
\gexec
SQL
