"""Which URLs are taken, and which addresses are public, in whatever clothes they come."""

import pytest

from usersvc.webhooks.endpoints import Allowed, Endpoint, InvalidUrl, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example.org", Endpoint("a.example.org", 443, "/", True)),
        ("https://a.example.org:8443/x?y=%20z", Endpoint("a.example.org", 8443, "/x?y=%20z", True)),
        ("http://[2001:db8::1]/x", Endpoint("2001:db8::1", 80, "/x", False)),
        ("HTTPS://A.example.org/X", Endpoint("a.example.org", 443, "/X", True)),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: Endpoint) -> None:
    assert parse(url) == expected


def test_the_host_is_named_as_http_wants_it() -> None:
    urls = ["https://a.example.org:443/", "https://a.example.org:80/", "http://[2001:db8::1]:81/"]
    assert [parse(url).authority for url in urls] == ["a.example.org", "a.example.org:80", "[2001:db8::1]:81"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example.org",
        "//a.example.org/",
        "ftp://a.example.org/",
        "file:///etc/passwd",
        "https:///x",
        "https://",
        "https://user@a.example.org/",
        "https://user:word@a.example.org/",
        "https://@a.example.org/",
        "https://a.example.org/#x",
        "https://a.example.org/x y",
        "https://a.example.org/\r\nX-Evil: 1",
        "https://a.example.org\\@b.example.org/",
        "https://a.example.org:0/",
        "https://a.example.org:65536/",
        "https://a.example.org:x/",
        "https://a..example.org/",
        "https://bücher.example.org/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://a.example.org/" + "x" * 2000,
    ],
)
def test_what_is_no_url_for_webhooks_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        parse(url)


# Of this machine, of private networks, of a cloud's metadata, of nobody, of many.
NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.8",
    "192.88.99.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
NOT_PUBLIC_IN_IPV6 = ["::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1"]
# The metadata of a cloud: mapped, compatible, by NAT64's two prefixes, 6to4, Teredo; local names of IPv6.
CLOTHED = [
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:5db8:d822:0:0:5601:5601",
]


@pytest.mark.parametrize("address", [*NOT_PUBLIC, *NOT_PUBLIC_IN_IPV6, *CLOTHED])
def test_an_address_that_is_not_public_is_not_reached(address: str) -> None:
    assert not Allowed("").reaches(address, over_tls=True)


@pytest.mark.parametrize("address", NOT_PUBLIC)
@pytest.mark.parametrize("clothes", ["::ffff:{}", "64:ff9b::{}"])
def test_ipv4_in_ipv6_is_judged_as_ipv4(address: str, clothes: str) -> None:
    assert not Allowed("").reaches(clothes.format(address), over_tls=True)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "2606:2800:220:1::1",
        "::ffff:93.184.216.34",
        "64:ff9b::93.184.216.34",
        "2002:5db8:d822::1",
    ],
)
def test_a_public_address_is_reached_by_tls_alone(address: str) -> None:
    assert Allowed("").reaches(address, over_tls=True)
    assert not Allowed("10.0.0.0/8").reaches(address, over_tls=False)


def test_a_network_that_is_named_is_reached_in_the_clear_too_and_no_other() -> None:
    allowed = Allowed("10.0.0.0/8, ::1")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "::1"):
        assert allowed.reaches(address, over_tls=False)
    for address in ("127.0.0.1", "11.0.0.1", "2002:a01:203::1", "::ffff:127.0.0.1"):
        assert not allowed.reaches(address, over_tls=False)
