# Sourced by scripts/start and scripts/test: finds a Python that is new enough.

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" "$root/.venv/bin/python" python3 python3.14 python3.13 \
        python3.12 python3.11 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "${0##*/}: Python 3.11 or newer is needed and was not found (set PYTHON to its path)" >&2
    return 1
}
