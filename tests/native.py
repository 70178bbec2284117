"""Native DuckDB (the official wheel of the engine's version) as the reference.

native.py compare DATA RESULTS QUERIES   each q*.parquet in RESULTS against the query run natively, as values
native.py types FOLDER                   each N.sql in FOLDER run natively against N.parquet, N.json and N.csv, as values
native.py time DATA QUERIES              for each number of a query on standard input, its seconds at one thread. As in a job,
                                         the database is new and open, and what is timed is making the views that the
                                         query uses, and the query.
"""
import glob, json, math, re, sys, time

import duckdb

TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def connect():
    con = duckdb.connect()
    con.execute("SET threads = 1")
    return con


def make_views(con, data, tables=TABLES):
    for table in tables:
        con.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{data}/{table}.parquet')")


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(float(a), float(b), rel_tol=1e-12, abs_tol=0) or a == b
    return a == b


def compare(data, results, queries):
    con, equal = connect(), 0
    make_views(con, data)
    assert duckdb.__version__ == "2.0.0", duckdb.__version__
    for n in range(1, 23):
        with open(f"{queries}/q{n:02}.sql") as f:
            want = con.execute(f.read()).fetchall()
        got = con.execute(f"SELECT * FROM read_parquet('{results}/q{n:02}.parquet')").fetchall()
        if len(want) != len(got):
            sys.exit(f"query {n}: {len(got)} rows, native has {len(want)}")
        for i, (w, g) in enumerate(zip(want, got)):
            if len(w) != len(g) or not all(map(same, w, g)):
                sys.exit(f"query {n}, row {i}: {g}, native has {w}")
        equal += 1
    print(f"{equal} queries equal native DuckDB {duckdb.__version__}")


def types(folder):
    con, wrong = connect(), []
    queries = sorted(glob.glob(f"{folder}/*.sql"))
    for query in queries:
        name = query.removesuffix(".sql")
        with open(query) as f:
            con.execute(f"CREATE OR REPLACE TABLE want AS {f.read()}")
        columns = [(c, t) for c, t, *_ in con.execute("DESCRIBE want").fetchall()]
        stored = {c: t for c, t, *_ in con.execute(f"DESCRIBE FROM '{name}.parquet'").fetchall()}
        # DuckDB reads numbers of JSON as doubles: as words they come whole.
        with open(f"{name}.json") as f, open(f"{name}.words.json", "w") as words:
            words.writelines(json.dumps(json.loads(line, parse_float=str, parse_int=str)) + "\n" for line in f)
        shapes = ", ".join(f"'{c}': '{'VARCHAR' if t in ('BLOB', 'HUGEINT') else stored[c]}'" for c, t in columns)
        forms = {"parquet": f"'{name}.parquet'",
                 "json": f"read_json('{name}.words.json', format = 'newline_delimited', columns = {{{shapes}}})",
                 "csv": f"read_csv('{name}.csv', all_varchar = true, nullstr = '', allow_quoted_nulls = false)"}
        for form, source in forms.items():
            con.execute(f"CREATE OR REPLACE TABLE got AS FROM {source}")
            for column, kind in columns:
                got, want = f'g."{column}"', f'w."{column}"'
                nested = any(c in kind for c in "([") and not kind.startswith(("DECIMAL", "ENUM"))
                if form == "csv" and nested:
                    continue
                if kind == "BLOB" and form != "parquet":
                    got = f"unhex({got})"
                if kind == "VARIANT":
                    want = f"{want}::VARCHAR"
                else:
                    got = f"CAST({got} AS {kind})"
                rows = con.execute(f"SELECT {want}::VARCHAR, g.\"{column}\"::VARCHAR FROM want w POSITIONAL JOIN got g "
                                   f"WHERE {got} IS DISTINCT FROM {want}").fetchall()
                wrong += [f"{form} {column} {kind}: {g}, native has {w}" for w, g in rows]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(queries)} queries survive, native DuckDB {duckdb.__version__}")


def measure(data, queries):
    for line in sys.stdin:
        with open(f"{queries}/q{int(line):02}.sql") as f:
            sql = f.read()
        used = [t for t in TABLES if re.search(rf"\b{t}\b", sql)]
        with connect() as con:
            start = time.perf_counter()
            make_views(con, data, used)
            con.execute(sql).fetchall()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(*sys.argv[2:5])
    elif sys.argv[1] == "types":
        types(sys.argv[2])
    else:
        measure(*sys.argv[2:4])
