from pathlib import Path

import pytest
from spanloom.gateway import tls
from spanloom.gateway.settings import GatewaySettings
from spanloom_schemas.settings import SettingsError


def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    chain, key = str(tmp_path / "none.pem"), str(tmp_path / "key.pem")
    for settings, said in (
        (GatewaySettings(gateway_cert_file=chain), "GATEWAY_KEY_FILE: set both, or neither"),
        (GatewaySettings(gateway_cert_file=chain, gateway_key_file=key), "no usable PEM in .*none.pem.*: No such file"),
        (GatewaySettings(gateway_cert_file=key, gateway_key_file=key), "no usable PEM in .*key.pem"),
    ):
        with pytest.raises(SettingsError, match=said) as error:
            tls.load(settings)
        assert "\n" not in str(error.value)
    assert tls.load(GatewaySettings()) is None
