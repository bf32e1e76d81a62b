# Makes a fresh Debian 12 into one gate or one worker. cloud-init runs it as root at the first boot; run again, it changes nothing that is already as it
# should be. What comes before it in the user data sets the variables that it names here, and puts the files below $FILES.
#
# ROOT is a folder to work in instead of /, for the tests.
set -euo pipefail
umask 022

: "${ROOT:=}" "${FILES:?}"
# gate or worker.
: "${ROLE:?}"
: "${ARTIFACT_BUCKET:?}" "${TIDEGATE_KEY:?}" "${TIDEGATE_SHA256:?}" "${SSM_AGENT_KEY:?}" "${SSM_AGENT_SHA256:?}"
: "${REGION:?}" "${LAKE_LOCATION:?}" "${CLUSTER_ARN:?}" "${KAFKA_SECRET:?}" "${KEYS_SECRET?}"

say() { printf 'tidegate: %s\n' "$*"; }

# place FILE TARGET MODE: nothing is written where it is there already, and never half of a file.
place() {
    local target="$ROOT$2"
    if ! cmp --silent "$1" "$target"; then
        mkdir -p "${target%/*}"
        install -m "$3" "$1" "$target.new"
        mv "$target.new" "$target"
        say "$2 is new"
    fi
}

matches() { echo "$1  $2" | sha256sum --check --status; }

# from_bucket KEY SUM FILE: what is there already and right is not fetched, and what is not right is not used.
from_bucket() {
    if [[ ! -e "$3" ]] || ! matches "$2" "$3"; then
        aws s3 cp --only-show-errors --region "$REGION" "s3://$ARTIFACT_BUCKET/$1" "$3"
    fi
    if ! matches "$2" "$3"; then
        say "s3://$ARTIFACT_BUCKET/$1 is not what its checksum says: nothing of it is used" >&2
        rm -f "$3"
        exit 1
    fi
}

packages() {
    local wanted=(awscli ca-certificates curl)
    if dpkg-query --show "${wanted[@]}" > /dev/null 2>&1; then
        return
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    apt-get install --quiet --yes --no-install-recommends "${wanted[@]}"
}

# The way in: Debian's image has no agent of Systems Manager, and there is no SSH.
agent() {
    local package="$ROOT/var/cache/tidegate/amazon-ssm-agent.deb"
    from_bucket "$SSM_AGENT_KEY" "$SSM_AGENT_SHA256" "$package"
    dpkg-query --show amazon-ssm-agent > /dev/null 2>&1 || dpkg --install "$package"
}

program() {
    local program="$ROOT/var/cache/tidegate/tidegate"
    if [[ -e "$ROOT/usr/local/bin/tidegate" ]] && matches "$TIDEGATE_SHA256" "$ROOT/usr/local/bin/tidegate"; then
        return
    fi
    from_bucket "$TIDEGATE_KEY" "$TIDEGATE_SHA256" "$program"
    place "$program" /usr/local/bin/tidegate 755
    rm "$program"
}

# Where the brokers are is asked for here: the stack does not know it before the cluster is there.
settings() {
    local brokers
    brokers=$(aws kafka get-bootstrap-brokers --region "$REGION" --cluster-arn "$CLUSTER_ARN" --query BootstrapBrokerStringSaslScram --output text)
    [[ "$brokers" == *:9096* ]] || { say "the cluster names no brokers for SASL/SCRAM: $brokers" >&2; exit 1; }
    place "$FILES/tidegate-$ROLE.service" "/etc/systemd/system/tidegate-$ROLE.service" 644
    place "$FILES/secrets.conf" "/etc/systemd/system/tidegate-$ROLE.service.d/secrets.conf" 644
    place "$FILES/tidegate-secrets.service" /etc/systemd/system/tidegate-secrets.service 644
    place "$FILES/tidegate-secrets.timer" /etc/systemd/system/tidegate-secrets.timer 644
    place "$FILES/fetch-secrets" /usr/local/lib/tidegate/fetch-secrets 755
    place "$FILES/tidegate.sysusers" /etc/sysusers.d/tidegate.conf 644
    place "$FILES/journald.conf" /etc/systemd/journald.conf.d/tidegate.conf 644
    place "$FILES/production.toml" /etc/tidegate/tidegate.toml 644
    # No secret is in either of these: they say where the secrets are.
    cat > "$FILES/role.env" <<END
TIDEGATE_LAKE__LOCATION=$LAKE_LOCATION
TIDEGATE_LAKE__S3__REGION=$REGION
TIDEGATE_JOURNAL__KAFKA__BROKERS=$brokers
TIDEGATE_JOURNAL__KAFKA__SECURITY__USERNAME=tidegate-$ROLE
END
    if [[ "$ROLE" == gate ]]; then
        cat >> "$FILES/role.env" <<'END'
TIDEGATE_SERVER__KEY_FILE=/var/lib/tidegate-secrets/sources.json
TIDEGATE_INGEST__PII_KEY_FILE=/var/lib/tidegate-secrets/pii.key
TIDEGATE_INGEST__SIGNING_KEY_FILE=/var/lib/tidegate-secrets/signing.key
END
    fi
    place "$FILES/role.env" "/etc/tidegate/tidegate-$ROLE.env" 600
    printf 'REGION=%s\nKAFKA_SECRET=%s\nKEYS_SECRET=%s\n' "$REGION" "$KAFKA_SECRET" "$KEYS_SECRET" > "$FILES/secrets.env"
    place "$FILES/secrets.env" /etc/tidegate/secrets.env 600
    systemd-sysusers ${ROOT:+--root="$ROOT"} tidegate.conf
}

services() {
    systemctl daemon-reload
    systemctl restart systemd-journald
    systemctl enable --now amazon-ssm-agent tidegate-secrets.timer
    systemctl enable "tidegate-$ROLE"
    # Settings and program may be new: what runs is started again.
    systemctl restart "tidegate-$ROLE"
}

mkdir -p "$ROOT/var/cache/tidegate"
packages
agent
program
settings
services
say "done"
