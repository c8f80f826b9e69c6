// Starts `vtopo lsp` and connects it to the editor.
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

function start() {
  const [command, ...args] = vscode.workspace.getConfiguration("vlab").get("server.command");
  const options = { documentSelector: [{ language: "vlab" }] };
  client = new LanguageClient("vlab", "vlab", { command, args }, options);
  return client.start().catch((error) => {
    vscode.window.showErrorMessage(
      `The language server of vlab does not start: ${error.message}. ` +
        "pip install 'vtopo[lsp]' installs it; vlab.server.command says where it is."
    );
  });
}

async function stop() {
  const running = client;
  client = undefined;
  if (running !== undefined && running.isRunning()) {
    await running.stop();
  }
}

function activate(context) {
  const restart = async () => {
    await stop();
    await start();
  };
  context.subscriptions.push(vscode.commands.registerCommand("vlab.restart", restart));
  return start();
}

module.exports = { activate, deactivate: stop };
