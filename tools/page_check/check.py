"""The server's page in headless Chromium: README.md."""

import argparse
import asyncio
import base64
import pathlib
import subprocess
import tempfile

import aiohttp

LONG = "It was a dark night on the river, and the old boat moved slowly under the bridge. " * 6


class Tab:
    """One page over Chromium's debugging protocol."""

    def __init__(self, socket):
        self.socket, self.last = socket, 0

    async def call(self, method, **params):
        self.last += 1
        await self.socket.send_json({"id": self.last, "method": method, "params": params})
        while True:
            answer = await self.socket.receive_json()
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]

    async def js(self, expression):
        result = (await self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                                  awaitPromise=True))
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait(self, expression):
        for _ in range(300):
            if await self.js(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("never: " + expression)

    async def key(self, key, modifiers=0):
        code = {"Enter": 13, "Tab": 9, " ": 32}[key]
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=modifiers,
                            windowsVirtualKeyCode=code, text="\r" if key == "Enter" else "")

    async def picture(self, path):
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True,
                               clip={**size, "x": 0, "y": 0, "scale": 1})
        path.write_bytes(base64.b64decode(shot["data"]))


async def look_at(tab, url, width, scheme, folder):
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
                   mobile=width < 500)
    await tab.call("Emulation.setEmulatedMedia",
                   features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.call("Page.navigate", url=url)
    await tab.wait("document.readyState === 'complete' && document.getElementById('model').textContent")
    await tab.js(f"document.getElementById('prompt').value = {LONG!r}")
    for reduce, name in (("utrc@30%", "merged"), ("stride@30%", "pruned"), ("skim@20%", "far")):
        await tab.js(f"document.getElementById('reduce').value = '{reduce}';"
                     "document.getElementById('note').textContent = ''")
        await tab.js("document.getElementById('look').focus()")
        await tab.key("Enter")
        await tab.wait("document.getElementById('note').textContent.includes('saved')")
        count = await tab.js(f"document.querySelectorAll('#tokens-view .{name}').length")
        assert count > 0, (reduce, name)
        text = await tab.js("document.getElementById('tokens-view').textContent")
        assert text == LONG, text
        # Each site alone: what an earlier one took is gone, and no token is lost.
        for site in range(await tab.js("document.querySelectorAll('#sites input').length")):
            await tab.js(f"document.querySelectorAll('#sites input')[{site}].click()")
            assert await tab.js("document.getElementById('tokens-view').textContent") == LONG
        await tab.picture(folder / f"{scheme}-{width}-{reduce.split('@')[0]}.png")
    await tab.js("document.getElementById('reduce').value = 'utrc@30%';"
                 "document.getElementById('prompt').focus()")
    await tab.key("Enter", modifiers=2)  # Control: goes on with the text
    await tab.wait("document.getElementById('note').textContent.includes('written')")
    assert len(await tab.js("document.getElementById('out').textContent")) > len(LONG)
    await tab.picture(folder / f"{scheme}-{width}-text.png")
    await tab.js("document.getElementById('reduce').value = 'utrk@30%'; document.getElementById('go').click()")
    await tab.wait("document.getElementById('note').textContent.includes('utrc')")  # did you mean
    assert await tab.js("document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"


async def check(options, url, port):
    folder = pathlib.Path(options.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    async with aiohttp.ClientSession() as session:
        for _ in range(100):
            try:
                async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = [t for t in await answer.json() if t["type"] == "page"]
                    break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            for scheme in ("light", "dark"):
                for width in (1000, 420):
                    await look_at(Tab(socket), url, width, scheme, folder)
                    print(scheme, width, "ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-13m-mamba1")
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--port", type=int, default=9333, help="for Chromium's debugging")
    parser.add_argument("--pictures", default="build/page")
    options = parser.parse_args()
    server = subprocess.Popen([options.pith, "serve", "--model", options.model, "--port", "0"],
                              stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().split(" at ")[1].strip()
    with tempfile.TemporaryDirectory() as profile:
        browser = subprocess.Popen([options.chromium, "--headless=new", "--no-sandbox", "--disable-gpu",
                                    f"--user-data-dir={profile}",
                                    f"--remote-debugging-port={options.port}", "about:blank"],
                                   stderr=subprocess.DEVNULL)
        try:
            asyncio.run(check(options, url, options.port))
        finally:
            browser.terminate()
            browser.wait()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
