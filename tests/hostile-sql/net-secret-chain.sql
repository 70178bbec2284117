-- Makes a secret from the machine's own credentials.
-- ends: denied installs and loads no extensions
CREATE SECRET (TYPE s3, PROVIDER credential_chain)
